"""Measure the whole embedded labeller: `python -m serving.training.evaluate_labeler --data DIR --cases FILE`.

Prints, as Markdown, how often a development set's prompts get a finding or a signal, how often its answers are above
their ceilings behind it, and which mode the summaries of the policy's worked examples reach. Never prints a row's text.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, field

from serving.guards.classification import ClassificationStage
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.personal_data.private_data import PRIVATE
from serving.training.corpus import Record, records
from topology.contract.drafts import Draft
from topology.contract.events import ConversationEvent, Message, Role, TextPart, UserContext
from topology.contract.labels import (
    AgeBand,
    Confidence,
    Intent,
    Mode,
    OutputFinding,
    RequestLabels,
    Severity,
    Vulnerability,
)
from topology.contract.names import DraftSource
from topology.decision.judge import judge, merge_reports
from topology.decision.plan import plan
from topology.policy.bundle import PolicyBundle
from topology.policy.loading import packaged_bundle
from topology.policy.overlays import TenantOverlay
from topology.ports import CheckInput

_LABEL_SETS: tuple[tuple[str, str, int | None], ...] = (
    ("self_instruct", "prompt_harm", 0),
    ("arena_hard_v2", "prompt_harm", 0),
    ("openai_guardrails_demo", "jailbreak", 0),
    ("openai_guardrails_demo", "jailbreak", 1),
    ("aegis_test", "prompt_harm", 0),
    ("aegis_test", "prompt_harm", 1),
    ("jbb_refdir_completions", "prompt_harm", 1),
    ("ailuminate_en_us", "prompt_harm", 1),
    ("ailuminate_fr_fr", "prompt_harm", 1),
)
"""The source, label and label value of the rows that are measured."""
_DRAFT_SETS: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("self_instruct", "harmless", {"response_harm": 0}),
    ("arena_hard_v2", "harmless", {"response_harm": 0}),
    ("jbb_refdir_completions", "harmful and not refused", {"response_harm": 1, "refusal": 0}),
    ("jbb_refdir_completions", "harmless and refused", {"response_harm": 0, "refusal": 1}),
    ("jbb_refdir_completions", "harmless and not refused", {"response_harm": 0, "refusal": 0}),
)
"""The source, the kind of its rows, and the labels of that kind."""
_ADULT = UserContext(age_band=AgeBand.ADULT, age_verified=True)
_AT_RISK = frozenset(Vulnerability) - {Vulnerability.NONE, Vulnerability.DISTRESS}


class WorkedExample(Struct, frozen=True, kw_only=True):
    """One of the policy's worked examples: its summary and the expected mode. Other fields are not read."""

    id: int
    summary: str = field(name="s")
    age: str = ""
    mode: Mode


def report(labeler: EmbeddedLabeler, folder: Path) -> Iterable[str]:
    """Yield a line per set: shares of prompts with a finding (any, sure, malicious), a person at risk, a signal."""
    yield "| set | rows | finding | of high confidence | malicious | at risk | signal |"
    yield "|---|---|---|---|---|---|---|"
    for source, label, value in _LABEL_SETS:
        path = folder / f"{source}.dev.jsonl.gz"
        texts = [record.prompt for record in records(path) if _is_meant(record, label, value)] if path.exists() else []
        if texts:
            yield _line(f"{source}, {label} {value}", [labeler.label_now(_event(text)) for text in texts])


def drafts(labeler: EmbeddedLabeler, bundle: PolicyBundle, folder: Path) -> Iterable[str]:
    """Yield a line per set: shares of answers held or changed for their findings, and of those with a person's data."""
    stage = ClassificationStage(LinearModel.load(), bundle)
    yield "| answers | rows | above the ceiling | personal data |"
    yield "|---|---|---|---|"
    for source, name, wanted in _DRAFT_SETS:
        path = folder / f"{source}.dev.jsonl.gz"
        rows = [row for row in records(path) if wanted.items() <= row.labels.items()] if path.exists() else []
        rows = [row for row in rows if row.response]
        if rows:
            found = [_judged(labeler, bundle, stage, row) for row in rows]
            above = sum(severity is not Severity.NONE for severity, _ in found) / len(found)
            personal = sum(any(f.category == PRIVATE and f.separable for f in seen) for _, seen in found) / len(found)
            yield f"| {source}, {name} | {len(rows)} | {above:.3f} | {personal:.3f} |"


def _judged(
    labeler: EmbeddedLabeler, bundle: PolicyBundle, stage: ClassificationStage, row: Record
) -> tuple[Severity, tuple[OutputFinding, ...]]:
    """Grade how far an adult's answer is above its ceilings; also return its findings."""
    event = _event(row.prompt, _ADULT)
    labels = labeler.label_now(event)
    overlay = TenantOverlay(tenant_id="evaluation", version="1")
    made = plan(bundle, labels, overlay=overlay, user=_ADULT, grants=())
    draft = Draft(text=row.response, source=DraftSource.GENERATOR)
    report = stage.run([CheckInput(event=event, labels=labels, plan=made, draft=draft, attempt=1, policy=bundle)])[0]
    out = merge_reports([report], [])
    verdict = judge(bundle, made, labels, out, overlay=overlay, user=_ADULT, grants=(), attempts=1, revisions_max=2)
    return verdict.severity_grade, report.findings


def examples(labeler: EmbeddedLabeler, bundle: PolicyBundle, path: Path) -> Iterable[str]:
    """Yield a line per expected mode: how many summaries reach it, and which modes the others reach."""
    found = msgspec.yaml.decode(path.read_bytes(), type=list[WorkedExample])
    reached = [(each, _mode(labeler, bundle, each)) for each in found]
    hits = sum(each.mode is mode for each, mode in reached)
    yield f"{hits} of {len(found)} reach the mode expected."
    yield ""
    yield "| expected | examples | reached | stricter (ids: mode) | laxer (ids: mode) |"
    yield "|---|---|---|---|---|"
    order = tuple(Mode).index
    for wanted in Mode:
        mine = [(each.id, mode) for each, mode in reached if each.mode is wanted]
        stricter = _listed([(id_, mode) for id_, mode in mine if order(mode) > order(wanted)])
        laxer = _listed([(id_, mode) for id_, mode in mine if order(mode) < order(wanted)])
        right = sum(mode is wanted for _, mode in mine)
        yield f"| {wanted} | {len(mine)} | {right} | {stricter} | {laxer} |"


def _listed(missed: list[tuple[int, Mode]]) -> str:
    modes = dict.fromkeys(mode for _, mode in missed)
    groups = (f"{', '.join(str(id_) for id_, other in missed if other is mode)}: {mode}" for mode in modes)
    return "; ".join(groups) or "none"


def _mode(labeler: EmbeddedLabeler, bundle: PolicyBundle, example: WorkedExample) -> Mode:
    user = UserContext(age_band=AgeBand(example.age or "adult"), age_verified=True)
    labels = labeler.label_now(_event(example.summary, user))
    overlay = TenantOverlay(tenant_id="evaluation", version="1")
    return plan(bundle, labels, overlay=overlay, user=user, grants=()).mode


def _is_meant(record: Record, label: str, value: int | None) -> bool:
    said = record.labels.get(label)
    return bool(record.prompt) and (said == value or (said is None and value == 0))


def _line(name: str, labelled: Sequence[RequestLabels]) -> str:
    shares = (
        sum(bool(labels.findings) for labels in labelled),
        sum(any(found.confidence is Confidence.HIGH for found in labels.findings) for labels in labelled),
        sum(any(found.intent is Intent.MALICIOUS for found in labels.findings) for labels in labelled),
        sum(labels.vulnerability in _AT_RISK for labels in labelled),
        sum(bool(labels.signals) for labels in labelled),
    )
    return f"| {name} | {len(labelled)} | " + " | ".join(f"{share / len(labelled):.3f}" for share in shares) + " |"


def _event(text: str, user: UserContext | None = None) -> ConversationEvent:
    messages = (Message(role=Role.USER, parts=(TextPart(text=text),)),)
    return ConversationEvent(
        event_id="e", conversation_id="c", tenant_id="evaluation", messages=messages, user=user or UserContext()
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 whenever model and policy load."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.training.evaluate_labeler", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, help="folder with <source>.dev.jsonl.gz files")
    parser.add_argument("--cases", type=Path, help="the policy's worked examples, in YAML")
    given = parser.parse_args(arguments)
    bundle = packaged_bundle()
    labeler = EmbeddedLabeler(LinearModel.load(), bundle.categories)
    if given.data:
        print("\n".join((*report(labeler, given.data), "", *drafts(labeler, bundle, given.data), "")))
    if given.cases:
        print("\n".join(examples(labeler, bundle, given.cases)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
