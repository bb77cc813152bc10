"""The calibration of an encoder on labelled rows: its temperatures, then its thresholds under them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct, structs

from serving.evaluation.examples import Example, examples_of
from serving.evaluation.expected import request_labels
from serving.evaluation.reliability import Reliability
from serving.evaluation.rows import DocumentRow, ReplyRow, RequestRow, Row
from serving.evaluation.running import Judged, event_of, under
from serving.evaluation.temperatures import Known, fit_temperatures, head_reliability, scaled
from serving.evaluation.thresholds import (
    OF_REPLIES,
    OF_REQUESTS,
    AskedCase,
    ReplyCase,
    fitted,
    reply_cost,
    request_cost,
)
from serving.guards.bias import BiasStage
from serving.guards.classification import ClassificationStage
from serving.guards.encoded import bias_report, classification_report, spoken
from serving.guards.encoder.heads import HEADS
from serving.guards.encoder.model import Description, Encoder, Reading
from serving.guards.encoder.thresholds import Thresholds
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from topology.contract.drafts import Draft
from topology.contract.names import DraftSource
from topology.decision.plan import plan
from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import STRICTEST
from topology.ports import CheckInput

BATCH = 32

Progress = Callable[[int, int], None]
"""A function that is told how many texts were read, of how many."""


class Calibration(Struct, frozen=True, kw_only=True):
    """What was found: temperatures and thresholds, the costs before and after, and how heads are calibrated."""

    temperatures: dict[str, float]
    thresholds: Thresholds
    costs: dict[str, tuple[float, float]]
    before: dict[str, Reliability]
    after: dict[str, Reliability]

    def of(self, description: Description) -> Description:
        """Return the description of the same weights with this calibration."""
        return structs.replace(description, temperatures=self.temperatures, thresholds=self.thresholds)


def calibrate(rows: Sequence[Row], encoder: Encoder, bundle: PolicyBundle, progress: Progress) -> Calibration:
    """Return temperatures and thresholds for an encoder that has no temperatures yet."""
    examples = [(row, examples_of([row])[0]) for row in rows if not isinstance(row, DocumentRow)]
    examples += [(row, examples_of([row])[0]) for row in rows if isinstance(row, DocumentRow)]
    readings = _readings([example for _, example in examples], encoder, progress)
    known: list[Known] = [
        (reading.heads, example.targets) for reading, (_, example) in zip(readings, examples, strict=True)
    ]
    temperatures = fit_temperatures(known)
    warmed = [tempered(reading, temperatures) for reading in readings]
    labeler = EmbeddedLabeler(LinearModel.load(), bundle.categories)
    asked = [
        AskedCase(row=row, ruled=spoken(labeler.label_now(event_of(row.messages, row.age))), reading=reading)
        for (row, _), reading in zip(examples, warmed, strict=True)
        if isinstance(row, RequestRow)
    ]
    replies = _replies([(row, reading) for (row, _), reading in zip(examples, warmed, strict=True)], bundle)
    start = Thresholds()
    chosen, costs = start, dict[str, tuple[float, float]]()
    for what, names, cases, cost in (
        ("requests", OF_REQUESTS, asked, request_cost(asked, bundle)),
        ("replies", OF_REPLIES, replies, reply_cost(replies)),
    ):
        if cases:
            chosen = fitted(names, cost, chosen)
            costs[what] = cost(start), cost(chosen)
    return Calibration(
        temperatures=temperatures,
        thresholds=chosen,
        costs=costs,
        before=head_reliability(known, {}),
        after=head_reliability(known, temperatures),
    )


def tempered(reading: Reading, temperatures: Mapping[str, float]) -> Reading:
    """Return a reading as it would be under temperatures, from one without any."""
    heads = {
        name: scaled(HEADS[name], said[None, :].astype(float), temperatures.get(name, 1.0))[0].astype(np.float32)
        for name, said in reading.heads.items()
    }
    return reading._replace(heads=heads)


def _readings(examples: Sequence[Example], encoder: Encoder, progress: Progress) -> list[Reading]:
    readings: list[Reading] = []
    for first in range(0, len(examples), BATCH):
        readings += encoder.read([example.given for example in examples[first : first + BATCH]])
        progress(len(readings), len(examples))
    return readings


def _replies(read: Sequence[tuple[Row, Reading]], bundle: PolicyBundle) -> list[ReplyCase]:
    model = LinearModel.load()
    classification, bias = ClassificationStage(model, bundle), BiasStage(model)
    return [_reply(row, reading, classification, bias, bundle) for row, reading in read if isinstance(row, ReplyRow)]


def _reply(
    row: ReplyRow, reading: Reading, classification: ClassificationStage, bias: BiasStage, bundle: PolicyBundle
) -> ReplyCase:
    event, labels = event_of(row.messages, row.age), request_labels(row.request_expect)
    made = plan(bundle, labels, overlay=STRICTEST, user=event.user, grants=())
    draft = Draft(text=row.reply, source=DraftSource.CANDIDATE)
    given = CheckInput(event=event, labels=labels, plan=made, draft=draft, attempt=1, policy=bundle)
    subject, groups = classification.run([given])[0], bias.run([given])[0]

    def judged(at: Thresholds) -> Judged:
        reports = (
            classification_report(given, subject, reading, bundle.categories, at),
            bias_report(row.reply, groups, reading, at),
        )
        return under(bundle, given, reports)

    return ReplyCase(row=row, judged=judged)
