"""What a run of the tests says of itself, and how it is shared out among processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT, files, named
from tests.plugins.progress import PartLines
from tests.plugins.side_by_side import SERVICES, share_of

FIXTURES = ("kafka", "kafka_session", "secure_broker", "local_ray", "ray_address", "vllm_server", "model_traces")


class Written:
    """A terminal that keeps what is written to it."""

    def __init__(self) -> None:
        self.showfspath = True
        self.lines: list[str] = []

    def write_line(self, line: str, **_: bool) -> None:
        self.lines.append(line)


def report(nodeid: str, when: str, *, outcome: str = "passed") -> pytest.TestReport:
    return pytest.TestReport(nodeid, ("", 0, ""), {}, outcome, None, when, duration=0.5)  # type: ignore[arg-type]


def test_a_part_has_a_line_when_its_last_test_is_done_and_a_failure_at_once() -> None:
    written = Written()
    lines = PartLines(written)  # type: ignore[arg-type]
    lines.pytest_xdist_node_collection_finished(["a.py::one", "b.py::one", "a.py::two", "c.py::one"])
    for nodeid in ("a.py::one", "b.py::one", "a.py::two"):
        lines.pytest_runtest_logreport(report(nodeid, "call", outcome="failed" if nodeid == "b.py::one" else "passed"))
        lines.pytest_runtest_logreport(report(nodeid, "teardown"))
    assert [re.sub(r" +\d+:\d\d", "", line) for line in written.lines] == [
        "FAILED b.py::one",
        " 50%  b.py: 1 tests, 1.0 s, 1 failed",
        " 75%  a.py: 2 tests, 2.0 s",
    ]
    assert not written.showfspath


def test_files_that_need_a_service_are_one_share_and_every_other_file_is_its_own() -> None:
    assert share_of("tests/e2e/test_canary.py::test_x[a::b]") == SERVICES
    assert share_of("tests/test_project_runs.py::test_x") == "tests/test_project_runs.py"


def test_every_test_that_asks_for_a_service_is_in_the_share_that_has_it() -> None:
    asking = {
        named(path)
        for path in files(".py", below="tests")
        if path.name.startswith("test_")
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(f"{fixture}: " in line or f'"{fixture}"' in line for fixture in FIXTURES) and "def " in line
    }
    assert asking
    assert not [path for path in sorted(asking) if share_of(path) != SERVICES]


def test_a_whole_run_says_how_far_it_is_and_ends_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_well(): pass\ndef test_wrong(): assert False\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.plugins.progress", "--parts", "-rf", "test_a.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    lines = iter(done.stdout.splitlines())
    for expected in (
        r"FAILED test_a.py::test_wrong",
        r"100% +\d+:\d\d  test_a.py: 2 tests, \d+\.\d s, 1 failed",
        r"FAILED test_a.py::test_wrong - assert False",
        r"=+ 1 failed, 1 passed in \d.*s =+",
    ):
        assert any(re.fullmatch(expected, line) for line in lines), (expected, done.stdout)
