"""A worker process that some events kill: the real pipeline on a real broker, with fakes for whoever answers.

    python -m tests.e2e.poison_worker <bootstrap> <group> <directory>

A question with `poison` ends the process where the request is assessed; one with `slow` is answered once there is a
file `release` in the directory, and makes a file `started-<pid>` when it begins. SIGTERM drains within DRAIN_S.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from serving.fakes import FAKE_LABELS, FakeCheck, FakeLabeler
from tests.plugins.running_worker import logged
from tests.plugins.topic_fields import TOPIC_FIELDS
from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.events import ConversationEvent, parts_text
from topology.contract.labels import RequestLabels
from topology.contract.names import DraftSource
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.ports import OnText
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.assembly import build_pipeline
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource
from workers.process.clock import SystemClock
from workers.settings import KafkaSettings, LimitSettings, Settings, TopicSettings
from workers.stream.crash_journal import open_journal
from workers.stream.loop import Loop
from workers.stream.quarantine import build_quarantine

EXIT_KILLED = 9
DRAIN_S = 0.2


def settings_of(bootstrap: str, group: str, directory: Path) -> Settings:
    """Settings with topics that begin with the group's name."""
    renamed: dict[str, Any] = {name: f"{group}.{getattr(TopicSettings(), name)}" for name in TOPIC_FIELDS}
    topics = TopicSettings(partitions=2, **renamed)
    kafka = KafkaSettings(bootstrap_servers=tuple(bootstrap.split(",")), group_id=group)
    limits = LimitSettings(crash_journal_directory=str(directory), in_flight_max=16, deadline_default_s=600)
    return Settings(kafka=kafka, topics=topics, limits=limits)


def label(event: ConversationEvent) -> RequestLabels:
    """Kills the process on a poison event."""
    if "poison" in parts_text(event.messages[-1].parts):
        os._exit(EXIT_KILLED)
    return FAKE_LABELS


class Generator:
    """Answers at once, slow questions when they are released."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        if any("slow" in parts_text(message.parts) for message in request.messages):
            (self._directory / f"started-{os.getpid()}").touch()
            while not (self._directory / "release").exists():  # noqa: ASYNC110 - made by another process
                await asyncio.sleep(0.02)
        else:
            await asyncio.sleep(0.05)
        return Draft(text="A plain answer.", source=DraftSource.GENERATOR)


def main(bootstrap: str, group: str, directory: Path) -> None:
    settings = settings_of(bootstrap, group, directory)
    metrics = Instruments.none()
    checks = (FakeCheck("classification"), FakeCheck("bias"), FakeCheck("logging", logged))
    policies, tracing = Policies(packaged_bundle()), Tracing.none()
    generator, labeler = Generator(directory), FakeLabeler(label)
    pipeline = build_pipeline(settings, lambda: policies, labeler, generator, checks, tracing, metrics)
    journal = open_journal(settings, 0, metrics)
    loop = Loop(
        KafkaSource(settings.kafka, settings.topics.events, 0),
        TransactionalSink(settings.kafka, 0, exit_process=journal.exit_process),
        pipeline.process,
        clock=SystemClock(),
        limits=settings.limits,
        metrics=metrics,
        tracing=tracing,
        quarantine=build_quarantine(settings.limits, journal, pipeline),
    )
    signal.signal(signal.SIGTERM, lambda _number, _frame: loop.drain(DRAIN_S))
    loop.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
