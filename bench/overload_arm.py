"""A whole worker, stages inside, one of which is slow while a file exists: one arm of part k, also of another checkout.

    PYTHONPATH=CHECKOUT python bench/overload_arm.py '{"bootstrap": "127.0.0.1:9092", ...}'

Prints a `Sample` as one line of JSON every `SAMPLE_S`. SIGTERM drains it. It imports nothing of the bench, so that the
checkout that PYTHONPATH names is measured.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec
from msgspec import Struct, structs

from topology.ports import Stage
from workers.assembly import Worker, build_worker
from workers.settings import Secret, Settings
from workers.stages import building

SAMPLE_S = 0.25
DRAIN_S = 5.0
AUDITED = "audited"
OTHERS = ("audit", "review", "state", "canary", "policy", "dead_letters", "usage")


class Task(Struct, frozen=True, kw_only=True):
    """What to run: the stage `slow_stage` sleeps `slow_s` for each draft while the file `switch` exists.

    `base_url` is that of the model; `budgets` a folder of tenants' budgets, empty: no budgets.
    """

    bootstrap: str
    group: str
    topic: str
    switch: str
    slow_stage: str = ""
    slow_s: float = 0.0
    base_url: str = ""
    requests_max: int = 8
    budgets: str = ""


class Sample(Struct, frozen=True, kw_only=True):
    """The worker at one moment, `at_s` since the epoch. `rss_mib` is resident memory."""

    at_s: float
    is_assigned: bool
    committed: int
    rss_mib: float


class SlowStage:
    """A stage that takes longer while a file exists."""

    def __init__(self, stage: Stage, is_slow: Callable[[], bool], slow_s: float) -> None:
        self._stage = stage
        self._is_slow = is_slow
        self._slow_s = slow_s

    @property
    def name(self) -> str:
        """Return the stage's name."""
        return self._stage.name

    @property
    def version(self) -> str:
        """Return the stage's version."""
        return self._stage.version

    def run(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Return the stage's reports, late."""
        if self._is_slow():
            time.sleep(self._slow_s * len(batch))
        return self._stage.run(batch)


def settings_of(task: Task) -> Settings:
    """Return a worker's settings, with topics whose names begin as the input's does."""
    default = Settings()
    names = {name: f"{task.topic}-{name}" for name in (AUDITED, *OTHERS) if hasattr(default.topics, name)}
    settings = structs.replace(
        default,
        kafka=structs.replace(
            default.kafka, bootstrap_servers=(task.bootstrap,), group_id=task.group, cluster_name=task.group
        ),
        topics=structs.replace(default.topics, events=task.topic, **names),
        redaction=structs.replace(default.redaction, digest_key=Secret("bench" * 8)),
        generation=structs.replace(
            default.generation,
            base_url=task.base_url or default.generation.base_url,
            model="scripted",
            turn_marks=("none",),
            concurrency_max=task.requests_max,
        ),
    )
    if task.budgets:
        policy, tenants = structs.replace(settings.policy, budgets=task.budgets), settings.tenants
        settings = structs.replace(settings, policy=policy, tenants=structs.replace(tenants, enabled=True))
    return settings


def slow_down(task: Task) -> None:
    """Have stages of this process built with the slow one among them."""
    build, switch = building.build_stage, Path(task.switch)

    def build_stage(settings: Settings, name: str) -> Stage:
        stage = build(settings, name)
        return SlowStage(stage, switch.exists, task.slow_s) if name == task.slow_stage else stage

    building.build_stage = build_stage


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _sample(worker: Worker, lines: TextIO) -> None:
    while True:  # a daemon's loop: it ends with the process
        health = worker.health()
        sample = Sample(
            at_s=time.time(), is_assigned=health.assigned, committed=health.committed_count, rss_mib=resident_mib()
        )
        print(msgspec.json.encode(sample).decode(), file=lines, flush=True)
        time.sleep(SAMPLE_S)


def main(arguments: Sequence[str]) -> int:
    """Work until SIGTERM."""
    task = msgspec.json.decode(arguments[0], type=Task)
    slow_down(task)
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the worker and its producer's process log to standard output
    worker = build_worker(settings_of(task), 0, {})
    signal.signal(signal.SIGTERM, lambda _number, _frame: worker.drain(DRAIN_S))
    threading.Thread(target=_sample, args=(worker, lines), name="sampler", daemon=True).start()
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
