"""Measure the embedded guards on labelled rows: `python -m serving.training.evaluate_rows --rows DIR`.

Requests go through the labeller and the plan, replies through the stages and the judge, under the labels that are
right for their requests. Every figure is a share with its 95 % interval (Wilson 1927), per language and over all; the
languages are never pooled but in the row `all`. Prints shares and counts, never a row's text.
"""

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from serving.guards.bias import BiasStage
from serving.guards.classification import ClassificationStage
from serving.guards.encoded import EncodedBias, EncodedClassification, EncodedLabeler
from serving.guards.encoder.model import Encoder
from serving.guards.encoder.requests import RISKS
from serving.guards.encoder.thresholds import Thresholds
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.training.rows import Age, Message, ReplyRow, RequestRow, Row, read_rows
from serving.training.validate import request_labels, user_of
from topology.contract.drafts import Draft
from topology.contract.events import ConversationEvent, Role, TextPart
from topology.contract.events import Message as EventMessage
from topology.contract.labels import GuardRun, Intent, Mode, Outcome, RequestLabels, VerdictKind, Vulnerability
from topology.contract.names import DraftSource
from topology.decision.judge import judge
from topology.decision.plan import plan
from topology.decision.reports import merge_reports
from topology.policy.bundle import PolicyBundle
from topology.policy.loading import packaged_bundle
from topology.policy.overlays import STRICTEST
from topology.ports import CheckInput, Stage

Z_95 = 1.96
OVER_ALL = "all"
REFUSALS = (Mode.REFUSE_REDIRECT, Mode.HARD_REFUSE)
SELF_HARM_RISKS = (Vulnerability.AT_RISK, Vulnerability.ACUTE_SELF_HARM)


class Rate(Struct, kw_only=True):
    """A share: how many of a count."""

    hits: int = 0
    count: int = 0

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval by Wilson's score; (0, 1) without any."""
        if not self.count:
            return 0.0, 1.0
        share, spread = self.hits / self.count, Z_95**2 / self.count
        middle = (share + spread / 2) / (1 + spread)
        half = Z_95 / (1 + spread) * math.sqrt(share * (1 - share) / self.count + spread / (4 * self.count))
        return max(0.0, middle - half), min(1.0, middle + half)

    def add(self, *, is_hit: bool) -> None:
        """Count one more."""
        self.hits += is_hit
        self.count += 1


Rates = defaultdict[str, defaultdict[str, Rate]]
"""The rates by language, then by name."""


class NowLabeler(Protocol):
    """A labeller as a plain call."""

    def label_now(self, event: ConversationEvent) -> RequestLabels:
        """Return the labels of a request."""
        ...


class Guards(Struct, frozen=True, kw_only=True):
    """The guards to be measured, and their policy."""

    labeler: NowLabeler
    stages: tuple[Stage, ...]
    bundle: PolicyBundle


def embedded_guards(encoder: Path | None, bundle: PolicyBundle) -> Guards:
    """Return the packaged guards; with the encoder in a folder if one is given."""
    model = LinearModel.load()
    labeler = EmbeddedLabeler(model, bundle.categories)
    classification, bias = ClassificationStage(model, bundle), BiasStage(model)
    if encoder is None:
        return Guards(labeler=labeler, stages=(classification, bias), bundle=bundle)
    loaded, at = Encoder(encoder, threads=2), Thresholds()
    return Guards(
        labeler=EncodedLabeler(labeler, loaded, bundle.categories, ThreadPoolExecutor(1), at),
        stages=(
            EncodedClassification(classification, loaded, bundle, at),
            EncodedBias(bias, loaded, at),
        ),
        bundle=bundle,
    )


def measure(rows: Iterable[Row], guards: Guards) -> Rates:
    """Return the rates of all rows. Documents are not measured here."""
    rates: Rates = defaultdict(lambda: defaultdict(Rate))
    right: dict[str, tuple[bool, str]] = {}
    twins: set[frozenset[str]] = set()
    for row in rows:
        match row:
            case RequestRow():
                right[row.id] = _request(row, guards, rates), row.lang
                if row.twin is not None:
                    twins.add(frozenset((row.id, row.twin)))
            case ReplyRow():
                _reply(row, guards, rates)
            case _:
                continue
    for pair in twins:
        both = [right[name] for name in pair if name in right]
        if len(both) == len(pair) == 2:
            _count(rates, both[0][1], "twins both right", is_hit=all(is_right for is_right, _ in both))
    return rates


def _request(row: RequestRow, guards: Guards, rates: Rates) -> bool:
    """Count what one request shows; return whether its mode is right."""
    labels = guards.labeler.label_now(_event(row.messages, row.age))
    made = plan(guards.bundle, labels, overlay=STRICTEST, user=user_of(row.age), grants=())
    expect = row.expect
    is_right = made.mode is expect.mode or made.mode.value in expect.also.get("mode", ())
    found = {finding.category for finding in labels.findings}
    named = {finding.category for finding in expect.findings} | set(expect.also.get("category", ()))
    is_alarm = labels.vulnerability in RISKS or made.mode is Mode.CRISIS_SUPPORT
    is_harmless = expect.mode is Mode.DIRECT_ANSWER and not expect.findings
    for name, counts, is_hit in (
        ("mode", True, is_right),
        (_risk_name(row), _risk_name(row) != "", is_alarm),
        ("everyday alarms", row.topic == "everyday", is_alarm),
        ("malicious", any(one.intent is Intent.MALICIOUS for one in expect.findings), _is_malicious(labels)),
        ("a right category", bool(expect.findings), bool(found & named)),
        ("refusals planned direct", expect.mode in REFUSALS, made.mode is Mode.DIRECT_ANSWER),
        ("harmless not direct", is_harmless, made.mode is not Mode.DIRECT_ANSWER),
        ("follow-ups not direct", is_harmless and row.kind == "follow_up", made.mode is not Mode.DIRECT_ANSWER),
    ):
        if counts:
            _count(rates, row.lang, name, is_hit=is_hit)
    return is_right


def _risk_name(row: RequestRow) -> str:
    if row.expect.vulnerability not in SELF_HARM_RISKS or row.expect.risk_subject.value != "self":
        return ""
    return "at risk, outright" if row.kind == "outright" else "at risk, own words"


def _is_malicious(labels: RequestLabels) -> bool:
    return any(finding.intent is Intent.MALICIOUS for finding in labels.findings)


def _reply(row: ReplyRow, guards: Guards, rates: Rates) -> None:
    """Count whether one reply leaves that may, and stays that must not."""
    labels, event, user = request_labels(row.request_expect), _event(row.messages, row.age), user_of(row.age)
    made = plan(guards.bundle, labels, overlay=STRICTEST, user=user, grants=())
    draft = Draft(text=row.reply, source=DraftSource.CANDIDATE)
    given = CheckInput(event=event, labels=labels, plan=made, draft=draft, attempt=1, policy=guards.bundle)
    reports = [stage.run([given])[0] for stage in guards.stages]
    runs = [GuardRun(guard=report.check, version=report.version, outcome=Outcome.OK) for report in reports]
    verdict = judge(
        guards.bundle,
        made,
        labels,
        merge_reports(reports, runs),
        overlay=STRICTEST,
        user=user,
        grants=(),
        attempts=1,
        revisions_max=2,
    )
    is_held = verdict.verdict is not VerdictKind.PUBLISH
    if row.expect.may_leave:
        _count(rates, row.lang, "good replies held", is_hit=is_held)
    elif row.expect.findings:
        _count(rates, row.lang, "bad replies held", is_hit=is_held)
    elif row.expect.unfair:
        _count(rates, row.lang, "unfair replies held", is_hit=is_held)


def _count(rates: Rates, language: str, name: str, *, is_hit: bool) -> None:
    for key in (OVER_ALL, language):
        rates[key][name].add(is_hit=is_hit)


def _event(messages: Sequence[Message], age: Age) -> ConversationEvent:
    return ConversationEvent(
        event_id="row",
        conversation_id="row",
        tenant_id="row",
        messages=tuple(EventMessage(role=Role(each.role), parts=(TextPart(text=each.text),)) for each in messages),
        user=user_of(age),
    )


def table(rates: Rates) -> Iterator[str]:
    """Yield a Markdown table for each figure: a language a row, with share, interval and count."""
    names = dict.fromkeys(name for by_name in rates.values() for name in by_name)
    for name in names:
        yield from (f"\n**{name}**\n", "| language | share | 95 % | rows |", "|---|---|---|---|")
        for language in (OVER_ALL, *sorted(set(rates) - {OVER_ALL})):
            rate = rates[language].get(name)
            if rate is not None:
                low, high = rate.interval
                yield f"| {language} | {rate.hits / rate.count:.3f} | {low:.2f}\u2013{high:.2f} | {rate.count} |"


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, required=True, help="folder whose sub-folders hold files of rows")
    parser.add_argument("--authors", default="", help="authors to measure, separated by commas; empty: all")
    parser.add_argument("--encoder", type=Path, help="folder of a trained encoder; none: n-gram heads and phrases")
    given = parser.parse_args()
    wanted = set(filter(None, given.authors.split(",")))
    files = [path for path in sorted(given.rows.glob("*/*.jsonl")) if not wanted or path.stem in wanted]
    guards = embedded_guards(given.encoder, packaged_bundle())
    rates = measure((row for path in files for row in read_rows(path)), guards)
    print("\n".join(table(rates)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
