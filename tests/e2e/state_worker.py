"""A worker process that remembers conversations: real pipeline, real broker, real states, fakes for whoever answers.

    python -m tests.e2e.state_worker <bootstrap> <group> <directory>

A question reads `<category> <harm> <intent> <asked detail> <answered detail>`, or anything else for a harmless one.
What the generator is asked for is written, a line a request, to the file `asked`. SIGTERM drains.
"""

import re
import signal
import sys
from pathlib import Path
from typing import Any

from serving.fakes import FAKE_LABELS, FakeCheck, FakeLabeler
from tests.plugins.running_worker import logged
from tests.plugins.topic_fields import TOPIC_FIELDS
from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.events import ConversationEvent, parts_text
from topology.contract.labels import CategoryId, Intent, LabelerIdentity, OutputFinding, RequestFinding, RequestLabels
from topology.contract.names import DraftSource
from topology.contract.texts import request_text
from topology.pipeline import Pipeline
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.ports import CheckInput, ConversationStates, OnText
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.assembly import build_pipeline
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource
from workers.process.clock import SystemClock
from workers.settings import KafkaSettings, LimitSettings, Settings, TopicSettings
from workers.stream.cancellations import open_cancellations
from workers.stream.conversation_states import open_states
from workers.stream.loop import NO_TENANCY, Loop, Tenancy

DRAIN_S = 5.0
_QUESTION = re.compile(r"([a-z_.]+) ([0-4]) (benign|dual_use|malicious) ([0-4]) ([0-4])")


def settings_of(bootstrap: str, group: str) -> Settings:
    """Settings with topics that begin with the group's name."""
    renamed: dict[str, Any] = {name: f"{group}.{getattr(TopicSettings(), name)}" for name in TOPIC_FIELDS}
    kafka = KafkaSettings(bootstrap_servers=tuple(bootstrap.split(",")), group_id=group)
    topics = TopicSettings(partitions=2, **renamed)
    return Settings(kafka=kafka, topics=topics, limits=LimitSettings(deadline_default_s=600))


def labelled(event: ConversationEvent) -> RequestLabels:
    """As the question says."""
    found = _QUESTION.fullmatch(request_text(event))
    if found is None:
        return FAKE_LABELS
    category, harm, intent, asked, _ = found.groups()
    finding = RequestFinding(
        category=CategoryId(category), harm=int(harm), intent=Intent(intent), asked_detail=int(asked)
    )
    return RequestLabels(labeler=LabelerIdentity(model="fake", version="1"), findings=(finding,))


def classified(given: CheckInput) -> CheckReport:
    """As the question says, or none of the category where that is above the ceiling: the policy is kept to."""
    found = _QUESTION.fullmatch(request_text(given.event))
    if found is None:
        return CheckReport(check="classification", version="1", bare_refusal=False)
    category, harm, _, _, answered = found.groups()
    detail = min(int(answered), given.plan.ceilings[CategoryId(category)])
    finding = OutputFinding(category=CategoryId(category), harm=int(harm), detail_lo=detail, detail_hi=detail)
    return CheckReport(check="classification", version="1", bare_refusal=False, findings=(finding,))


class Generator:
    """Answers at once, and writes down what it was asked."""

    def __init__(self, directory: Path) -> None:
        self._asked = directory / "asked"

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        with self._asked.open("a") as asked:
            asked.write(parts_text(request.messages[-1].parts).replace("\n", " ") + "\n")
        return Draft(text="A plain answer.", source=DraftSource.GENERATOR)


def work(
    settings: Settings, pipeline: Pipeline, states: ConversationStates | None, tenancy: Tenancy = NO_TENANCY
) -> None:
    """Work as a worker does, without metrics and traces, until SIGTERM."""
    loop = Loop(
        KafkaSource(settings.kafka, settings.topics.events, 0),
        TransactionalSink(settings.kafka, 0),
        pipeline.process,
        clock=SystemClock(),
        limits=settings.limits,
        metrics=Instruments.none(),
        tracing=Tracing.none(),
        states=states,
        tenancy=tenancy,
    )
    signal.signal(signal.SIGTERM, lambda _number, _frame: loop.drain(DRAIN_S))
    loop.run()


def main(bootstrap: str, group: str, directory: Path) -> None:
    settings = settings_of(bootstrap, group)
    metrics, tracing, policies = Instruments.none(), Tracing.none(), Policies(packaged_bundle())
    checks = (FakeCheck("classification", classified), FakeCheck("bias"), FakeCheck("logging", logged))
    states = open_states(settings, SystemClock(), metrics)
    generator, labeler = Generator(directory), FakeLabeler(labelled)
    departures = open_cancellations(settings, metrics)
    pipeline = build_pipeline(
        settings, lambda: policies, labeler, generator, checks, tracing, metrics, states, departures=departures
    )
    work(settings, pipeline, states, Tenancy(departures=departures))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
