"""The demonstration as a newcomer runs it: real Kafka, Ray and vLLM, an ingress killed half way, and the census."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.checkout import ROOT
from tests.plugins.patience import wait_until
from workers.commands.demo.scripts import ScriptKind, rejudged_scripts, sample_scripts

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.vllm, pytest.mark.timeout(600)]

RUN_S = 540.0
STOP_S = 90.0


def demo(directory: Path, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    """The command in `directory`, in a session of its own; without `variables` it starts a broker of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS"}
    return subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "demo", "--plain", *arguments],
        cwd=directory,
        env={**environment, "PYTHONPATH": str(ROOT), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left_running(session: int) -> list[str]:
    """Processes of a session that are still there."""
    found: list[str] = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.info["cmdline"] or [])[:120])
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


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
    process = demo(tmp_path, "--count", "80", "--kill")
    try:
        out, _ = process.communicate(timeout=RUN_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, out[-4000:]
    assert "kill -9 of the ingress actor" in out
    assert "every record ended as the contract says, exactly once" in out
    census = re.search(r"census: (\d+) sent, (\d+) answered, (\d+) dead letters", out)
    assert census is not None
    sent, answered, letters = (int(count) for count in census.groups())
    assert answered == 80 + len(rejudged_scripts())
    assert sent == answered + letters
    assert f"counts {answered} responses" in out
    left = tmp_path / "var" / "demo"
    tree = (left / "trace.txt").read_text()
    assert nested(tree, "send conversations.events", "process conversations.events", "chat ", "llm_request"), tree
    audit = json.loads((left / "audit.json").read_text())
    response = json.loads((left / "response.json").read_text())
    assert audit["audit_id"] == response["audit_id"]
    assert audit["trace_id"] in out
    assert_judged_again(out)


def assert_judged_again(out: str) -> None:
    """Fails unless both kinds of scripted conversation ended as their scripts are there to show."""
    _, shown = out.split("judged again", 1)
    mended, stubborn = (
        shown.split(f"  {next(script.question for script in rejudged_scripts() if script.kind is kind)}\n", 1)[1]
        for kind in (ScriptKind.ABOVE_THEN_WITHIN, ScriptKind.STUBBORN)
    )
    line = r"    draft %d: (\w+) by \w+; .*\n      .*\n"
    twice = re.match(line % 1 + line % 2 + "    safe_completed: ", mended)
    thrice = re.match(line % 1 + line % 2 + line % 3 + "    refused: ", stubborn)
    assert twice, shown[:3000]
    assert thrice, shown[:3000]
    assert twice.groups() == ("safe_complete", "publish")
    assert thrice.groups() == ("safe_complete", "safe_complete", "refuse")


def test_the_scripted_model_needs_no_vllm_and_its_answers_can_be_read(tmp_path: Path) -> None:
    process = demo(tmp_path, "--count", "20", "--model", "scripted")
    try:
        out, _ = process.communicate(timeout=RUN_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, out[-4000:]
    assert "vLLM" not in out
    assert "every record ended as the contract says, exactly once" in out
    answers = {script.within[:40] for script in sample_scripts()}
    assert sum(answer in out for answer in answers) >= 3
    assert_judged_again(out)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--model", "gpt"), "argument --model: invalid choice: 'gpt' (choose from 'both', 'tiny', 'scripted')"),
        (("--count", "0"), "argument --count: '0' is not a whole number above 0"),
        (("--count", "10001"), "sluicegate demo: --count 10001: at most 10000"),
    ],
)
def test_a_wrong_option_ends_the_demo_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    process = demo(tmp_path, *arguments)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert complaint in out
    assert not (tmp_path / "var").exists()


def test_a_second_demo_in_the_same_directory_does_not_disturb_the_first(tmp_path: Path) -> None:
    (tmp_path / "var" / "demo").mkdir(parents=True)
    with (tmp_path / "var" / "demo" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = demo(tmp_path)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"another one runs in {tmp_path / 'var' / 'demo'}" in out


def test_brokers_that_are_away_are_named(tmp_path: Path) -> None:
    process = demo(
        tmp_path, "--count", "1", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", SLUICEGATE_KAFKA__CONNECT_TIMEOUT_S="3"
    )
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "kafka.bootstrap_servers is 127.0.0.1:1" in out
    assert "Traceback" not in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    process = demo(tmp_path, "--count", "5")
    log = tmp_path / "var" / "demo" / "log.jsonl"
    try:
        wait_until(log.exists, 60)
        wait_until(lambda: any("raylet" in line for line in left_running(process.pid)), 60)
        process.send_signal(number)
        process.communicate(timeout=STOP_S)
        deadline_s = time.monotonic() + 20
        while (left := left_running(process.pid)) and time.monotonic() < deadline_s:
            time.sleep(0.2)
        assert left == []
        assert process.returncode != 0
    finally:
        for line_pid in (p.pid for p in psutil.process_iter() if _session(p.pid) == process.pid):
            os.kill(line_pid, signal.SIGKILL)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1
