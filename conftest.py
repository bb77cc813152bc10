"""Says at the end of a test run what its tests counted, and which parts of it took longest."""

from collections import defaultdict
from collections.abc import Iterable

import pytest

PARTS_SHOWN = 5


def _seconds_by_part(reports: Iterable[object]) -> dict[str, tuple[float, int]]:
    """Seconds and number of tests per test file; set-up and tear-down count for the file that caused them."""
    seconds: dict[str, float] = defaultdict(float)
    tests: dict[str, set[str]] = defaultdict(set)
    for report in reports:
        if isinstance(report, pytest.TestReport):
            part = report.nodeid.partition("::")[0]
            seconds[part] += report.duration
            tests[part].add(report.nodeid)
    return {part: (total, len(tests[part])) for part, total in seconds.items()}


def _counts(reports: Iterable[object]) -> list[str]:
    """What tests noted with `record_property`, one a line."""
    return [
        f"{value:>12,}  {name}"
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if isinstance(value, int)
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted and the slowest parts, then pytest's own last line."""
    reports = [report for stats in terminalreporter.stats.values() for report in stats]
    counts = _counts(reports)
    if counts:
        terminalreporter.section("counted")
        terminalreporter.write_line("\n".join(counts))
    parts = sorted(_seconds_by_part(reports).items(), key=lambda item: item[1][0], reverse=True)
    terminalreporter.section(f"{PARTS_SHOWN} slowest parts of {len(parts)}")
    for part, (seconds, tests) in parts[:PARTS_SHOWN]:
        terminalreporter.write_line(f"{seconds:8.1f} s  {tests:4d} tests  {part}")
    total = sum(seconds for _, (seconds, _) in parts)
    terminalreporter.write_line(f"{total:8.1f} s  all parts")
