"""Doors and workers as processes that a test may kill."""

import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai

from tests.checkout import ROOT
from tests.plugins.open_door import API_KEY
from tests.plugins.patience import PATIENCE_S, wait_until
from workers.commands.demo.parts import free_port
from workers.process.child import KeptProcess
from workers.settings import Settings


def client_at(port: int, api_key: str = API_KEY, **options: Any) -> openai.OpenAI:
    """The official client of a door; it repeats nothing unless `max_retries` says so."""
    given: dict[str, Any] = {"max_retries": 0, "timeout": PATIENCE_S, **options}
    return openai.OpenAI(api_key=api_key, base_url=f"http://127.0.0.1:{port}/v1", **given)


def is_ready(port: int) -> bool:
    """Whether a door has read what it has to know."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def state_worker(settings: Settings, directory: Path) -> Generator[KeptProcess]:
    """A worker that remembers which events it has answered."""
    arguments = [",".join(settings.kafka.bootstrap_servers), settings.kafka.group_id, str(directory)]
    command = [sys.executable, "-m", "tests.e2e.state_worker", *arguments]
    process = KeptProcess(command, log=directory / "worker.log", directory=ROOT)
    try:
        yield process
    finally:
        process.kill()


@contextmanager
def door_process(settings: Settings, directory: Path, port: int = 0, **door: int) -> Generator[tuple[KeptProcess, int]]:
    """`sluicegate door` as a process, ready, on `port` or any free one."""
    port = port or free_port()
    config = directory / "door.toml"
    topics = settings.topics
    config.write_text(
        f'[kafka]\nbootstrap_servers = ["{settings.kafka.bootstrap_servers[0]}"]\n'
        f'[topics]\nevents = "{topics.events}"\naudited = "{topics.audited}"\ncancel = "{topics.cancel}"\n'
        f'[door]\nport = {port}\nmetrics_port = 0\nkeys_file = "{settings.door.keys_file}"\ndigest_key = "digest key"\n'
        f"deadline_s = {PATIENCE_S}\n" + "".join(f"{name} = {value}\n" for name, value in door.items()),
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "workers.cli", "door", "--config", str(config)]
    process = KeptProcess(command, log=directory / f"door-{port}.log", directory=ROOT)
    try:
        wait_until(lambda: is_ready(port))
        yield process, port
    finally:
        process.kill()
