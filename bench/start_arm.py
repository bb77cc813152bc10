"""One start of a worker's guards in a process of its own, and the time of its first events."""

import asyncio
import sys
import time

import msgspec
from msgspec import Struct, structs

from bench.world import StubGenerator, record
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.assembly import build_pipeline
from workers.process.clock import SystemClock
from workers.settings import Secret, Settings
from workers.stages.building import build_checks, close_checks
from workers.stages.language_models import ModelSet


class Task(Struct, frozen=True, kw_only=True):
    """How many events follow a start."""

    events: int


class Start(Struct, frozen=True, kw_only=True):
    """One start: the time until the guards are ready, and that of each event after it, one at a time."""

    ready_s: float
    events_ms: tuple[float, ...]


def measure(task: Task) -> Start:
    """Build what a worker is ready with, the generator apart, and process events one after the other."""
    settings = structs.replace(
        Settings(), redaction=structs.replace(Settings().redaction, digest_key=Secret("bench" * 8))
    )
    policies, metrics = Policies(packaged_bundle()), Instruments.none()
    records = [record(index) for index in range(task.events)]
    started_s = time.perf_counter()
    models = ModelSet(settings, SystemClock(), metrics)
    checks = build_checks(settings, {}, [], metrics)
    pipeline = build_pipeline(
        settings, lambda: policies, models.labeler, StubGenerator(), checks, Tracing.none(), metrics
    )
    ready_s = time.perf_counter() - started_s
    taken: list[float] = []

    async def one_by_one() -> None:
        for each in records:
            started_s = time.perf_counter()
            await pipeline.process(each)
            taken.append((time.perf_counter() - started_s) * 1000)
        await close_checks(checks)
        await models.aclose()

    asyncio.run(one_by_one())
    return Start(ready_s=ready_s, events_ms=tuple(taken))


if __name__ == "__main__":
    print(msgspec.json.encode(measure(msgspec.json.decode(sys.argv[1], type=Task))).decode())
