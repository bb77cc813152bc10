"""The parts of the Ray form as processes of this machine: `sluicegate run`, what it started, and the served model."""

import json
import os
import shutil
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.checkout import ROOT
from workers.process.child import KeptProcess
from workers.settings import Settings, show

INGRESS = "ray::Ingress"
STAGE = "ray::StageHost"
LLM_REPLICA = "ray::ServeReplica:sluicegate-llm:EngineServer"
LLM_INGRESS = "ray::ServeReplica:sluicegate-llm:OpenAiIngress"
ENGINE = "VLLM::EngineCore"
"""How the processes call themselves: Ray shows an actor's class and method, vLLM its part."""

DIGEST_KEY = "SLUICEGATE_REDACTION__DIGEST_KEY"
PROBE_INTERVAL_S = 2.0
PROBE_TIMEOUT_S = 10.0
NAME_CHARACTERS_MAX = 80
GONE_S = 120.0
"""How long processes may take to end once what started them has: Ray's agents look for their parent now and then."""


class SupervisorProcess:
    """`sluicegate run` with the same settings file, however often it is started."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._config = directory / "sluicegate.toml"
        self._config.write_text(show(settings))
        self._directory = directory
        self._process: KeptProcess | None = None
        self.log = directory / "supervisor.log"
        self.log.unlink(missing_ok=True)
        self.started_s = 0.0

    @property
    def pid(self) -> int:
        """Of the process that runs now, or ran last."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._process is not None
        return self._process.exit_code

    def start(self) -> None:
        """Start it; returns at once."""
        env = shutil.which("env")
        assert env is not None
        variables = (f"PYTHONPATH={ROOT}", f"{DIGEST_KEY}=a key for chaos", "OMP_NUM_THREADS=1")
        run = (sys.executable, "-m", "workers.cli", "run", "--config", str(self._config))
        self._process = KeptProcess([env, *variables, *run], log=self.log, directory=self._directory)
        self.started_s = time.monotonic()

    def kill(self) -> None:
        """kill -9 of the process alone."""
        if self._process is not None:
            self._process.kill()

    def drain(self, timeout_s: float) -> int:
        """SIGTERM, and its exit code; killed after `timeout_s`."""
        return 0 if self._process is None else self._process.stop(timeout_s)


class Descendants:
    """Every process that is started below this one from now on, so that none is left at the end.

    What older children start, such as the servers of a test session, is not ours.
    """

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._others = {child.pid for child in self._own.children()}
        self._seen: dict[int, psutil.Process] = {}
        self._noted_s = 0.0

    def note(self, *, at_most_every_s: float = 0.0) -> None:
        """Remember what runs now. Call it more often than processes lose their parents."""
        now_s = time.monotonic()
        if now_s - self._noted_s < at_most_every_s:
            return
        self._noted_s = now_s
        ours = {self._own.pid}
        for process in self._own.children(recursive=True):  # parents come before their children
            if process.pid not in self._others and _parent(process) in ours:
                ours.add(process.pid)
                self._seen.setdefault(process.pid, process)

    def running(self, title: str = "") -> list[psutil.Process]:
        """Those that live and call themselves `title…`, in the order of their ids."""
        found: list[psutil.Process] = []
        for pid, process in sorted(self._seen.items()):
            if not lives(process):
                del self._seen[pid]
            elif _name(process).startswith(title):
                found.append(process)
        return found

    def end(self) -> tuple[str, ...]:
        """What still runs after a bounded wait, by name and id; it is killed."""
        self.note()
        deadline_s = time.monotonic() + GONE_S
        while (left := self.running()) and time.monotonic() < deadline_s:
            time.sleep(0.2)
        names = tuple(f"{process.pid} {_name(process)}" for process in left)
        for process in left:
            send(process, signal.SIGKILL)
        return names


class ModelProbe:
    """Asks the model for one token every other second, on a thread of its own; keeps how long it was away."""

    def __init__(self, base_url: str, model: str) -> None:
        self._url = f"{base_url}/chat/completions"
        message = {"role": "user", "content": "Hello."}
        self._body = json.dumps({"model": model, "messages": [message], "max_tokens": 1}).encode()
        self._ended = threading.Event()
        self._up_since_s: float | None = None
        self._away_since_s: float | None = None
        self.outages_s: list[float] = []
        self._thread = threading.Thread(target=self._watch, name="model-probe", daemon=True)
        self._thread.start()

    def up_s(self) -> float:
        """For how long it has answered without a break; 0 while it does not."""
        since_s = self._up_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(PROBE_TIMEOUT_S + PROBE_INTERVAL_S)

    def _watch(self) -> None:
        while not self._ended.wait(PROBE_INTERVAL_S):
            asked_s = time.monotonic()
            if self._answers():
                if self._away_since_s is not None:
                    self.outages_s.append(round(time.monotonic() - self._away_since_s, 1))
                    self._away_since_s = None
                self._up_since_s = self._up_since_s or time.monotonic()
            elif self._up_since_s is not None:
                self._up_since_s = None
                self._away_since_s = asked_s

    def _answers(self) -> bool:
        request = urllib.request.Request(self._url, self._body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S) as response:
                return response.status == 200
        except (OSError, urllib.error.URLError):
            return False


@contextmanager
def served_model(say: Callable[[str], None], restore_logging: Callable[[], None]) -> Generator[tuple[str, str]]:
    """A local Ray in this process with vLLM under Ray Serve: the cluster's address and the model's base URL."""
    from workers.commands.demo.parts import language_model
    from workers.commands.demo.rounds import Model
    from workers.settings import RaySettings
    from workers.supervision.ray_session import prepare_ray, ray_session

    prepare_ray(RaySettings())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    said: set[str] = set()

    def progress(state: str, waited_s: float) -> None:
        if state not in said:
            said.add(state)
            say(f"the model: {state.lower()} after {waited_s:.0f} s")

    say("starting Ray")
    with ray_session(RaySettings()):
        import ray

        address: str = ray.get_runtime_context().gcs_address
        say(f"Ray is up at {address}; starting vLLM under Ray Serve")
        with language_model(Model.TINY, "", "grpc", progress, restore_logging) as url:
            yield address, url


def lives(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended and that nobody has waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def _name(process: psutil.Process) -> str:
    """How it calls itself, cut off; empty where it is gone."""
    try:
        return " ".join(process.cmdline()).strip()[:NAME_CHARACTERS_MAX]
    except psutil.NoSuchProcess:
        return ""


def send(process: psutil.Process, number: signal.Signals) -> bool:
    """Signal it; False where it was gone already."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True
