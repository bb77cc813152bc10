"""A pipeline whose answers are streamed: a scripted model, checks that read words as faults, and the stream's log."""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

from serving.fakes import FAKE_MODEL, FakeCheck, FakeGenerator, FakeReleases
from tests.topology.steps.pipeline_world import Bench, Ended, event, finding, logged, record_of
from topology.contract.drafts import CheckReport, GenerationRequest
from topology.contract.events import ConversationEvent
from topology.contract.labels import Span
from topology.contract.records import Record
from topology.decision.judge import REDACTION_MARK
from topology.ports import Check, CheckInput, Releases
from topology.streamed.answering import StreamBounds
from topology.streaming.holdback import HoldBounds
from topology.streaming.segments import SegmentBounds

FAULTS = {
    "FAR": finding("wrongdoing.nonviolent", 2, 4),
    "ONE": finding("wrongdoing.nonviolent", 2, 3),
    "WORST": finding("cyber.offense", 4, 4),
}
"""Words that are detail above a ceiling: far (another draft), by one (another draft), and beyond any draft."""
UNFAIR = "UNFAIR"
SECRET = re.compile(r"\d(?:[ -]?\d){6,}")
"""Seven digits or more are a number that nobody supplied."""
REFUSAL = "I cannot help with that."
LINE = "crisis line"
"""The words that meet every obligation."""
WORDS = re.compile("|".join([*FAULTS, UNFAIR]))

STREAMS = StreamBounds(
    segments=SegmentBounds(characters_max=60, fence_characters_max=80, age_max_ms=1e9),
    hold=HoldBounds(opening_sentences=2, opening_characters=40, context_characters=80),
    model=FAKE_MODEL,
    tokens_max=50,
)


def read(given: CheckInput) -> CheckReport:
    """The classification: each word of a fault is a finding, each long number one that can be cut out."""
    text = given.draft.text
    secrets = tuple(Span(start=found.start(), end=found.end()) for found in SECRET.finditer(text))
    findings = [found for word, found in FAULTS.items() if word in text]
    findings = findings[:1] if {"FAR", "ONE"} <= {word for word in FAULTS if word in text} else findings
    if secrets:
        findings.append(finding("privacy.private", 3, 3, separable=True, spans=secrets))
    return CheckReport(
        check="classification",
        version="1",
        findings=tuple(findings),
        bare_refusal=is_bare_refusal(text),
        obligations_present=given.plan.must_include if LINE in text.lower() else (),
    )


def is_bare_refusal(text: str) -> bool:
    return bool(text.strip()) and not text.replace(REFUSAL, "").strip()


def weighed(given: CheckInput) -> CheckReport:
    """The bias stage."""
    return CheckReport(check="bias", version="1", unfair=UNFAIR in given.draft.text)


def checks(classification: Callable[[CheckInput], CheckReport] = read) -> list[Check]:
    return [FakeCheck("classification", classification), FakeCheck("bias", weighed), FakeCheck("logging", logged)]


class Streamed:
    """One event that is streamed, and what came of it. `answers` are the model's, one for each request."""

    def __init__(
        self,
        answers: Iterable[str],
        *,
        releases: FakeReleases | None = None,
        pieces: Callable[[str], Iterable[str]] = list,
        streams: StreamBounds = STREAMS,
        classification: Callable[[CheckInput], CheckReport] = read,
        is_streaming: bool = True,
        **bench: Any,
    ) -> None:
        self.releases = releases or FakeReleases()
        script = iter(answers)
        self.generator = FakeGenerator(lambda _: next(script), pieces=pieces)
        given: dict[str, Any] = {"generator": self.generator, "checks": checks(classification), **bench}
        self.bench = Bench(releases=self._made if is_streaming else None, streams=streams, **given)

    def _made(self, record: Record, event: ConversationEvent, audit_id: str) -> Releases:
        assert audit_id
        return self.releases

    async def run(self, **changes: Any) -> Ended:
        asked = event(**{"stream": True, **changes})
        return Ended(await self.bench.pipeline.process(record_of(asked)))

    def answer(self, **changes: Any) -> Ended:
        return asyncio.run(self.run(**changes))

    @property
    def segments(self) -> list[str]:
        return [text for text, _, _ in self.releases.segments]

    @property
    def requests(self) -> list[GenerationRequest]:
        return self.generator.calls


def is_clean(text: str) -> bool:
    """Return whether no part of a text is a fault of a prefix."""
    return not WORDS.search(text) and not SECRET.search(text)


__all__ = ["LINE", "REDACTION_MARK", "REFUSAL", "STREAMS", "Streamed", "checks", "is_clean", "read", "weighed"]
