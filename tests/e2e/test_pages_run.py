"""What pages tell readers to type runs: the tutorial on a broker, a model and a worker; the how-to on policy."""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import ENVIRONMENT, PATIENCE_S
from workers.commands.demo.parts import free_port

TOPICS = ("EVENTS", "AUDITED", "AUDIT", "REVIEW", "STATE", "CANARY", "USAGE", "POLICY", "DEAD_LETTERS")
_BLOCK = re.compile(r"^```sh( background)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> Iterator[tuple[str, bool]]:
    """The commands of a page in order, and whether each is left running."""
    for found in _BLOCK.finditer((ROOT / "docs" / page).read_text(encoding="utf-8")):
        yield found[2], bool(found[1])


def environment(folder: Path) -> dict[str, str]:
    """`sluicegate` and `python` are this checkout's."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name, arguments in {"sluicegate": "-m workers.cli", "python": ""}.items():
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return {**os.environ, **ENVIRONMENT, "PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def run(command: str, folder: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@contextmanager
def left_running(command: str, folder: Path, variables: dict[str, str]) -> Generator[None]:
    """Run a command beside the next ones; it ends by Ctrl-C, as it does for a reader."""
    with (folder / f"{uuid.uuid4().hex}.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)


@pytest.mark.kafka
@pytest.mark.ray
def test_the_tutorial_ends_with_the_readers_own_event_explained(kafka: Kafka, ray_address: str, tmp_path: Path) -> None:
    run_id = uuid.uuid4().hex[:8]
    variables = environment(tmp_path)
    variables |= {f"SLUICEGATE_TOPICS__{topic}": f"tutorial.{run_id}.{topic.lower()}" for topic in TOPICS}
    variables |= {"SLUICEGATE_KAFKA__GROUP_ID": f"tutorial-{run_id}", "SLUICEGATE_AGENT__PORT": str(free_port())}
    variables["SLUICEGATE_RAY__ADDRESS"] = ray_address  # a reader's worker starts a Ray of its own
    model = str(free_port())
    said: list[str] = []
    with ExitStack() as running:
        for command, is_background in blocks("tutorial.md"):
            here = command.replace("127.0.0.1:9092", kafka.bootstrap).replace("8001", model)
            if is_background:
                running.enter_context(left_running(here, tmp_path, variables))
            else:
                said.append(run(here, tmp_path, variables))
    assert len(said) == 7
    _, _, _, answered, explained, limited, judged = said
    assert "mine-1" in explained
    assert "bit for bit" in explained
    assert "safe_completed" in limited
    assert '"text":"Paris."' in judged
    assert "mine-3" in judged
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").partition("## 7.")[2]
    shown = [
        line
        for block in re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(shown) >= 8
    assert not [line for line in shown if line != "..." and line not in answered + limited], (
        "the page shows what is printed"
    )


def test_the_how_to_on_policy_copies_checks_and_shows(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    said = [run(command, tmp_path, variables) for command, _ in blocks("your-policy.md")]
    assert (tmp_path / "my-policy.yaml").is_file()
    assert "self_harm" in said[-1]


def test_the_values_that_how_tos_show_are_read_by_the_chart() -> None:
    """Their blocks are merged into values by hand; a misspelt one would be refused, so each key must exist."""
    chart = (ROOT / "helm" / "sluicegate" / "values.yaml").read_text(encoding="utf-8")
    for page in ("behind-a-mesh.md", "private-ca.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        keys = re.findall(
            r"^(\w+):", "\n".join(re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)), re.MULTILINE
        )
        assert keys
        assert not [key for key in keys if f"\n{key}:" not in chart]
