"""The labeller and the stages with the encoder: its readings, joined with what phrase rules and markers find.

One pass reads a request, and one a draft with the request it answers. Classification and bias share the latter where
they run in one process: the encoder keeps its latest readings. Of a long text it reads windows, within `Allowance`.
"""

import functools
import math
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from serving.guards.classification import SUBSTANCE_CHARACTERS_MIN, ClassificationStage
from serving.guards.conversation import asked_of
from serving.guards.draft_markers import declined_part
from serving.guards.encoder.cheap_look import LONG_CHARACTERS, marked
from serving.guards.encoder.lanes import Lanes
from serving.guards.encoder.model import WINDOWS_MAX, Bounds, Encoder, Reading
from serving.guards.encoder.replies import with_reply
from serving.guards.encoder.requests import documents_of, gives_orders, turn_of, with_reading
from serving.guards.encoder.texts import Given, given_reply, given_request, is_sparse
from serving.guards.encoder.thresholds import Thresholds
from serving.guards.labeler import PHRASES, EmbeddedLabeler
from serving.text.features import fold
from serving.text.quotations import told
from serving.text.wrappers import decoded
from topology.contract.drafts import CheckReport, Draft
from topology.contract.events import ConversationEvent, Role, parts_length, parts_text
from topology.contract.labels import ANSWER, CategoryId, LabelerIdentity, PartlyRead, RequestLabels, Signal
from topology.policy.bundle import Category, PolicyBundle
from topology.ports import CheckInput, Stage

NAME = "encoder"
HISTORY_CHARACTERS_MAX = 40_000
"""The length above which a whole conversation is long: phrase rules look through all of it."""


class Allowance(Struct, frozen=True, kw_only=True):
    """How much of one text the encoder may read: windows, and a share of the time there is.

    `timeout_s` is the time of the labeller or stage; what is left of the event's deadline may be less.
    """

    windows_max: int = WINDOWS_MAX
    share: float = 0.5
    timeout_s: float = math.inf

    def bounds(self, event: ConversationEvent, texts: int = 1) -> Bounds:
        """Return the bounds of reading each of some texts of an event, one after the other, beginning now."""
        left_s = math.inf if event.deadline_ms is None else max(0.0, event.deadline_ms / 1000 - time.time())
        return Bounds(windows_max=self.windows_max, seconds=self.share * min(self.timeout_s, left_s) / texts)


AS_LONG_AS_IT_TAKES = Allowance()


def is_long(event: ConversationEvent, characters: int) -> bool:
    """Return whether so many characters to an event are read in the lane of long texts.

    They are if they are many, or if the whole conversation is very long.
    """
    history = sum(parts_length(each.parts) for each in event.messages)
    return characters > LONG_CHARACTERS or history > HISTORY_CHARACTERS_MAX


def looked_through(given: Given) -> Given:
    """Return what is to be read with the stretches that the cheap look marks."""
    return structs.replace(given, marked=marked(given.text))


def turns_of(event: ConversationEvent) -> list[tuple[str, str]]:
    """Return the role and text of each message of an event, with what is disguised in it."""
    return [(each.role.value, plainly(parts_text(each.parts))) for each in event.messages]


def plainly(text: str) -> str:
    """Return a text and, below it, what is written in it in base64, hexadecimal numbers and the like."""
    return "\n".join((text, *decoded(text)))


class EncodedLabeler:
    """A labeller with the encoder, for one policy. Readings are made on the threads of `lanes`."""

    def __init__(
        self,
        rules: EmbeddedLabeler,
        encoder: Encoder,
        categories: Mapping[CategoryId, Category],
        lanes: Lanes,
        allowance: Allowance = AS_LONG_AS_IT_TAKES,
    ) -> None:
        self._rules = rules
        self._encoder = encoder
        self._categories = categories
        self._lanes = lanes
        self._allowance = allowance
        self._at = encoder.thresholds
        self._identity = LabelerIdentity(model=NAME, version=encoder.version)

    async def label(self, event: ConversationEvent) -> RequestLabels:
        """Return the labels of the request. Raises CheckFailed as the phrase rules do, or if long texts queue up."""
        work = functools.partial(self.label_now, event)
        characters = sum(parts_length(each.parts) for each in turn_of(event) if each.role is not Role.ASSISTANT)
        return await self._lanes.run(work, guard=NAME, is_long=is_long(event, characters))

    def label_now(self, event: ConversationEvent) -> RequestLabels:
        """Return what `label` does, as a plain call."""
        ruled = self._rules.label_now(event)
        answered = tuple(finding for finding in ruled.findings if ANSWER in finding.sources)
        given = given_request(turns_of(event))
        documents = documents_of(event, told(asked_of(event).parts))
        bounds = self._allowance.bounds(event, 1 + len(documents))
        reading, *shown = self._encoder.read([looked_through(each) for each in (given, *documents)], bounds)
        labels = with_reading(spoken(ruled), reading, self._categories, thresholds_for(given, self._at))
        injected = [Signal.INJECTION] if any(gives_orders(each, self._at) for each in shown) else []
        return structs.replace(
            labels,
            labeler=self._identity,
            findings=(*labels.findings, *answered),
            signals=tuple(sorted({*labels.signals, *injected})),
            partly_read=together([reading, *shown]),
        )


def together(readings: Sequence[Reading]) -> PartlyRead | None:
    """Return how much was read of several texts; None if it was all of each."""
    if all(reading.partly_read is None for reading in readings):
        return None
    return PartlyRead(
        read=sum(reading.read for reading in readings),
        windows=sum(reading.windows for reading in readings),
        marked_unread=sum(reading.marked_unread for reading in readings),
    )


def thresholds_for(request: Given, at: Thresholds) -> Thresholds:
    """Return the thresholds for what is asked in a request."""
    return at.for_sparse() if is_sparse(request) else at


def spoken(labels: RequestLabels) -> RequestLabels:
    """Return the rules' labels with the findings that a phrase states, and without those of n-gram heads alone."""
    return structs.replace(labels, findings=tuple(finding for finding in labels.findings if PHRASES in finding.sources))


class _EncodedStage:
    """A stage of rules with the encoder beside it: its name, and the versions of both."""

    def __init__(self, rules: Stage, encoder: Encoder, allowance: Allowance = AS_LONG_AS_IT_TAKES) -> None:
        self._rules = rules
        self._encoder = encoder
        self._allowance = allowance
        self._at = encoder.thresholds

    def _readings(self, batch: Sequence[CheckInput]) -> list[Reading]:
        """Return a reading of each draft, in order."""
        readings: list[Reading] = []
        for given in batch:
            text = looked_through(given_reply(turns_of(given.event), plainly(given.draft.text)))
            readings += self._encoder.read([text], self._allowance.bounds(given.event))
        return readings

    def _at_of(self, draft: Draft) -> Thresholds:
        return self._at.for_partial() if draft.is_partial else self._at

    @property
    def name(self) -> str:
        """Return the name of the rules' stage."""
        return self._rules.name

    @property
    def version(self) -> str:
        """Return the versions of the rules and of the encoder."""
        return f"{self._rules.version}+encoder-{self._encoder.version}"


class EncodedClassification(_EncodedStage):
    """The classification stage with the encoder, for one policy."""

    def __init__(
        self,
        rules: ClassificationStage,
        encoder: Encoder,
        bundle: PolicyBundle,
        allowance: Allowance = AS_LONG_AS_IT_TAKES,
    ) -> None:
        super().__init__(rules, encoder, allowance)
        self._categories = bundle.categories

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """Return one report per draft, in order."""
        reports = self._rules.run(batch)
        return [
            structs.replace(
                classification_report(given, report, reading, self._categories, self._at_of(given.draft)),
                version=self.version,
                partly_read=reading.partly_read,
            )
            for given, report, reading in zip(batch, reports, self._readings(batch), strict=True)
        ]


def classification_report(
    given: CheckInput,
    report: CheckReport,
    reading: Reading,
    categories: Mapping[CategoryId, Category],
    at: Thresholds,
) -> CheckReport:
    """Return the rules' report joined with a reading. Only here is it looked for whether a draft declines too much.

    Rules alone miss most of what is asked for, and would call refusals needless that are not.
    """
    ruled = structs.replace(report, declines=declined_part(fold(given.draft.text)))
    return with_reply(ruled, reading, given.labels.findings, categories, at)


def bias_report(text: str, report: CheckReport, reading: Reading, at: Thresholds) -> CheckReport:
    """Return the rules' report on a text with the encoder's word on whether it is unfair; the rules count mentions.

    Of a short text the rules alone say it: the encoder takes sentences that merely name a group for unfair ones.
    """
    unfair = reading.of("unfair")
    is_unfair = report.unfair is True or (unfair >= at.unfair and len(text) >= SUBSTANCE_CHARACTERS_MIN)
    return structs.replace(report, unfair=is_unfair, scores=report.scores | {"encoder.unfair": unfair})


class EncodedBias(_EncodedStage):
    """The bias stage with the encoder, which says what is unfair; the rules count mentions of groups."""

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """Return one report per draft, in order."""
        reports = self._rules.run(batch)
        return [
            structs.replace(
                bias_report(given.draft.text, report, reading, self._at_of(given.draft)),
                version=self.version,
                partly_read=reading.partly_read,
            )
            for given, report, reading in zip(batch, reports, self._readings(batch), strict=True)
        ]
