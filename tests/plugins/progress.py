"""What a test run says of itself: a line for each part that is done, and at the end what was counted and took longest.

A part is a file of tests. With `--parts` its line, `share of all tests done, time since the start, part, seconds`,
stands for the dots of its tests: a log that somebody follows shows how far a run is, whoever runs the parts. A test
that fails is named at once.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Sequence

import pytest

Status = tuple[str, str, str | tuple[str, object]]
"""Category, letter and word of a test, as pytest has them."""

SLOWEST_SHOWN = 5
QUIET_MAX_S = 30.0
"""After so long without a line, the next test that ends has its part say how many of its tests are done."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--parts`."""
    parser.addoption(
        "--parts", action="store_true", help="a line for each file of tests instead of a dot for each test"
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Show parts where they are asked for; processes that run tests for another one show nothing."""
    if config.getoption("--parts") and not hasattr(config, "workerinput"):
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(reporter, pytest.TerminalReporter)
        config.pluginmanager.register(PartLines(reporter), "part-lines")


class PartLines:
    """The lines of parts, written as reports of tests come in."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        reporter.showfspath = False
        self._reporter = reporter
        self._began_s = self._said_s = time.monotonic()
        self._is_over = False
        self._expected: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take what is to be run here."""
        if session.items:
            self._expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Take what is to be run by several processes; each says the same."""
        self._expect(ids)

    def pytest_sessionfinish(self) -> None:
        """Leave the rest to pytest: its summary asks for words."""
        self._is_over = True

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Status, Status]:
        """Keep the category, which the summary counts, and write no letter while tests run."""
        status = yield
        return status if self._is_over else (status[0], "", "")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test when it is torn down, and write what there is to say."""
        part = _part_of(report.nodeid)
        self._seconds[part] += report.duration
        if report.failed:
            self._failed[part] += 1
            self._reporter.write_line(f"FAILED {report.nodeid}", red=True)
        if report.when == "teardown":
            self._done[part] += 1
            now_s = time.monotonic()
            if self._done[part] == self._expected[part]:
                self._say(now_s, part, f"{self._done[part]} tests, {self._seconds[part]:.1f} s")
            elif now_s - self._said_s >= QUIET_MAX_S:
                self._say(now_s, part, f"{self._done[part]} of {self._expected[part]} tests")

    def _expect(self, ids: Iterable[str]) -> None:
        self._expected = Counter(map(_part_of, ids))
        self._said_s = time.monotonic()

    def _say(self, now_s: float, part: str, what: str) -> None:
        minutes, seconds = divmod(int(now_s - self._began_s), 60)
        share = self._done.total() / max(1, self._expected.total())
        failed = f", {self._failed[part]} failed" if self._failed[part] else ""
        self._reporter.write_line(f"{share:4.0%} {minutes:4d}:{seconds:02d}  {part}: {what}{failed}")
        self._said_s = now_s


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted and the slowest parts, then pytest's own last line."""
    reports = [
        report for stats in terminalreporter.stats.values() for report in stats if isinstance(report, pytest.TestReport)
    ]
    counts = _counts(reports)
    if counts:
        terminalreporter.section("counted")
        terminalreporter.write_line("\n".join(counts))
    parts = sorted(_seconds_by_part(reports).items(), key=lambda item: item[1][0], reverse=True)
    terminalreporter.section(f"{SLOWEST_SHOWN} slowest parts of {len(parts)}")
    for part, (seconds, tests) in parts[:SLOWEST_SHOWN]:
        terminalreporter.write_line(f"{seconds:8.1f} s  {tests:4d} tests  {part}")
    total = sum(seconds for _, (seconds, _) in parts)
    terminalreporter.write_line(f"{total:8.1f} s  all parts")


def _part_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _seconds_by_part(reports: Iterable[pytest.TestReport]) -> dict[str, tuple[float, int]]:
    """Return seconds and number of tests by part; set-up and tear-down count for the part that caused them."""
    seconds: defaultdict[str, float] = defaultdict(float)
    tests: defaultdict[str, set[str]] = defaultdict(set)
    for report in reports:
        seconds[_part_of(report.nodeid)] += report.duration
        tests[_part_of(report.nodeid)].add(report.nodeid)
    return {part: (total, len(tests[part])) for part, total in seconds.items()}


def _counts(reports: Iterable[pytest.TestReport]) -> list[str]:
    """Return what tests noted with `record_property`, one a line."""
    return [
        f"{value:>12,}  {name}"
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if isinstance(value, int)
    ]
