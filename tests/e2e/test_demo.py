"""The demonstration as a newcomer runs it: real Kafka, Ray and vLLM, an ingress killed half way, and the census.

Three runs: a whole one with a script and then vLLM; one on brokers that are there, with the scripted model alone, which
is terminated once it stays up; and one that is interrupted while its parts start.
"""

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from rich.cells import cell_len

from tests.checkout import ROOT
from tests.plugins.kafka_broker import BOOTSTRAP, Kafka
from tests.plugins.patience import ENVIRONMENT, PATIENCE_S, wait_until
from workers.commands.demo.story.examples import examples

RUN_MAX_S = 1500.0
"""A whole run takes two minutes on two idle cores, most of it the start of vLLM."""

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.vllm, pytest.mark.timeout(RUN_MAX_S + 60)]

COUNT = 60


class Demo:
    """The command in `directory`, in a session of its own; without `variables` it starts a broker of its own."""

    def __init__(self, directory: Path, *arguments: str, **variables: str) -> None:
        self._out = directory / "out.txt"
        environment = {name: value for name, value in os.environ.items() if name != BOOTSTRAP}
        with self._out.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.cli", "demo", "--plain", *arguments],
                cwd=directory,
                env={**environment, **ENVIRONMENT, "PYTHONPATH": str(ROOT), **variables},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._out.read_text()

    def wait_said(self, text: str) -> None:
        """Return once it has printed `text`; fail where it ends without."""
        wait_until(lambda: text in self.out or self._process.poll() is not None)
        assert text in self.out, self.out[-4000:]

    def interrupt(self, number: signal.Signals) -> None:
        """Signal it, and it alone."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Return its exit status."""
        return self._process.wait(timeout_s)

    def left(self) -> list[psutil.Process]:
        """The processes of its session that are still there."""
        return [process for process in psutil.process_iter(["name"]) if self._is_left(process)]

    def _is_left(self, process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == self._process.pid and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False


@contextmanager
def demo(directory: Path, *arguments: str, **variables: str) -> Generator[Demo]:
    """Run the command; whatever the test finds, nothing of it is there afterwards."""
    running = Demo(directory, *arguments, **variables)
    try:
        yield running
    finally:
        for process in running.left():
            process.kill()


def nested(tree: str, *names: str) -> bool:
    """Whether each name stands in a line that is indented deeper than the one before it."""
    depth = -1
    lines = iter(tree.splitlines())
    for name in names:
        line = next((line for line in lines if name in line), None)
        if line is None or (found := len(line) - len(line.lstrip(" │├└─"))) <= depth:
            return False
        depth = found
    return True


def test_every_record_ends_once_although_the_ingress_is_killed_and_one_trace_reaches_into_vllm(tmp_path: Path) -> None:
    with demo(tmp_path, "--count", str(COUNT), "--kill", "--model", "scripted-tiny") as running:
        status, out = running.wait(RUN_MAX_S), running.out
    assert status == 0, out[-4000:]
    assert "kill -9 of the ingress actor" in out
    assert "every record ended as the contract says, exactly once" in out
    census = re.search(r"census: (\d+) sent, (\d+) answered, (\d+) dead letters \((\d+) of them answered", out)
    assert census is not None
    sent, answered, letters, rejected = (int(count) for count in census.groups())
    assert answered == COUNT + len(examples())
    assert sent == answered + letters
    assert f"counts {answered + rejected} responses" in out
    left = tmp_path / "var" / "demo"
    tree = (left / "trace.txt").read_text()
    assert nested(tree, "send conversations.events", "process conversations.events", "chat ", "llm_request"), tree
    audit = json.loads((left / "audit.json").read_text())
    response = json.loads((left / "response.json").read_text())
    assert audit["audit_id"] == response["audit_id"]
    assert audit["trace_id"] in out
    assert_told(out)
    assert_commands_work(tmp_path, out)


def assert_told(out: str) -> None:
    """Fails unless every pinned example is there and ended as it was meant to, in 80 columns."""
    assert "was expected here" not in out
    assert "not answered in time" not in out
    for example in examples():
        assert example.shows in out
        assert example.question in out
    assert re.search(r"draft 1: .*\n.*\n +draft 2: within limits \(V99\)", out)
    assert_streamed(out)
    shown = out[out.index(examples()[0].shows) : out.index("census:")].splitlines()
    assert [line for line in shown if cell_len(line) > 80] == []


def assert_streamed(out: str) -> None:
    """Fails unless one answer was shown in pieces, and another was stopped in its middle and went on."""
    plain, drifting = (example for example in examples() if example.streams)
    told = out[out.index(plain.shows) : out.index(drifting.shows)]
    times = [float(found) for found in re.findall(r"^  after (\d+\.\d) s  +\S", told, re.MULTILINE)]
    assert len(times) >= 3, told
    assert times == sorted(times)
    assert times[-1] - times[0] >= 1
    assert "what was shown stays" in told
    told = out[out.index(drifting.shows) :]
    told = told[: told.index("draft 2: within limits (V99)")]
    assert re.search(r"what was shown stays\n +draft 1: .*: 3, allowed 2$", told, re.MULTILINE), told
    closed = re.search(r"its request was closed after (\d+) of (\d+) words; never shown:\n +“\S", told)
    assert closed is not None, told
    assert int(closed[1]) < int(closed[2])
    said = " ".join(told[: told.index("what was shown stays")].split())
    assert "risen by" not in said
    assert f"s {drifting.within}" in said
    assert re.search(rf"after \d+\.\d s {re.escape(drifting.above.split('.')[0])}", said), said


def assert_commands_work(directory: Path, out: str) -> None:
    """Run what the demo says to look at next: it works without the run's brokers."""
    lines = [line for line in out.splitlines() if line.startswith("sluicegate policy ")]
    assert [line.split()[2] for line in lines] == ["explain", "simulate"]
    said = [printed(directory, *shlex.split(line)[1:]) for line in lines]
    assert "reproduced from this record" in said[0]
    assert "stricter" in said[1]


def printed(directory: Path, *arguments: str) -> str:
    """What a command prints on standard output; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_scripted_model_needs_no_vllm_its_own_topics_take_an_event_and_sigterm_removes_them(
    kafka: Kafka, tmp_path: Path
) -> None:
    """On the session's brokers, which it must leave as they were."""
    before = topics(kafka)
    with demo(tmp_path, "--count", "20", "--keep", **{BOOTSTRAP: kafka.bootstrap}) as running:
        running.wait_said("-o beginning -e")
        curl, python = (line for line in running.out.splitlines() if line.startswith(("curl ", "python ")))
        said = json.loads(subprocess.check_output(["bash", "-c", curl], timeout=PATIENCE_S))
        assert said["sluicegate"]["action"]
        assert said["choices"][0]["message"]["content"]
        python = python.replace("python", sys.executable, 1)
        assert subprocess.check_output(["bash", "-c", python], timeout=PATIENCE_S).strip()
        send, read = (line for line in running.out.splitlines() if "kcat -" in line)
        subprocess.run(["bash", "-c", send], check=True, timeout=PATIENCE_S)
        wait_until(lambda: b'"event_id":"e1"' in subprocess.check_output(["bash", "-c", read], timeout=PATIENCE_S))
        running.interrupt(signal.SIGTERM)
        status, out = running.wait(), running.out
        wait_until(lambda: not running.left())
    assert status == 0, out[-4000:]
    assert "vLLM" not in out
    assert "every record ended as the contract says, exactly once" in out
    assert_told(out)
    wait_until(lambda: not [name for name in topics(kafka) - before if name.startswith("demo-")])


def topics(kafka: Kafka) -> set[str]:
    """The topics on the session's brokers."""
    listed = subprocess.check_output(["kcat", "-L", "-J", "-b", kafka.bootstrap], timeout=PATIENCE_S)
    return {topic["topic"] for topic in json.loads(listed)["topics"]}


def test_an_interrupted_start_leaves_nothing_running(tmp_path: Path) -> None:
    with demo(tmp_path, "--count", "5") as running:
        wait_until(lambda: any("raylet" in process.info["name"] for process in running.left()))
        running.interrupt(signal.SIGINT)
        assert running.wait() != 0
        wait_until(lambda: not running.left())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("--model", "gpt"),
            "argument --model: invalid choice: 'gpt' (choose from 'scripted', 'small', 'both', 'tiny', ",
        ),
        (("--count", "0"), "argument --count: '0' is not a whole number above 0"),
        (("--count", "10001"), "sluicegate demo: --count 10001: at most 10000"),
    ],
)
def test_a_wrong_option_ends_the_demo_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    with demo(tmp_path, *arguments) as running:
        assert running.wait() == 2
    assert complaint in running.out
    assert not (tmp_path / "var").exists()


def test_a_second_demo_in_the_same_directory_does_not_disturb_the_first(tmp_path: Path) -> None:
    (tmp_path / "var" / "demo").mkdir(parents=True)
    with (tmp_path / "var" / "demo" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with demo(tmp_path) as running:
            assert running.wait() == 1
    assert f"another one runs in {tmp_path / 'var' / 'demo'}" in running.out


def test_brokers_that_are_away_are_named(tmp_path: Path) -> None:
    away = {BOOTSTRAP: "127.0.0.1:1", "SLUICEGATE_KAFKA__CONNECT_TIMEOUT_S": "3"}
    with demo(tmp_path, "--count", "1", **away) as running:
        assert running.wait() == 1
    assert "kafka.bootstrap_servers is 127.0.0.1:1" in running.out
    assert "Traceback" not in running.out
