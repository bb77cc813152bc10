"""The judge: turns the guards' findings on a draft into a verdict. Pure; the table's rows are data of the bundle.

For each fault the first row that fits applies; the strictest of these verdicts stands. The planned mode plays no part
in releasing a draft: only the draft counts. A check that failed or is missing is a fault like any other, and holds it.
"""

from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct, structs

from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.events import UserContext
from topology.contract.labels import (
    Confidence,
    Declines,
    Intent,
    Level,
    Mode,
    Outcome,
    OutputFinding,
    OutputLabels,
    Plan,
    RequestFinding,
    RequestLabels,
    Severity,
    SideEffect,
    Span,
    Verdict,
    VerdictKind,
)
from topology.contract.measures.intervals import joined
from topology.decision.ceilings import Subject, ceiling_level, floored, subject_of, with_doubt
from topology.decision.plan import CRISIS_LINE, require_known
from topology.decision.reports import merge_reports, ordered_spans
from topology.decision.risks import shows_acute_risk
from topology.policy.bundle import Aspect, Authority, PolicyBundle, VerdictRow
from topology.policy.overlays import TenantOverlay
from topology.policy.verdict_table import STRICTNESS, Fault, first_row

__all__ = ["apply_redactions", "judge", "merge_reports"]

REDACTION_MARK = "[removed]"
LOW_CONFIDENCE_HARM: Level = 3
"""The harm level from which an uncertain label counts one level higher."""

GRAVE_HARM: Level = 3
"""The harm level from which declining is never called needless."""

GRAVE_EFFECTS = frozenset({SideEffect.PAGE, SideEffect.QUARANTINE, SideEffect.ACCOUNT_SIGNAL})
"""The side effects that need two independent sources."""

_LINE_OF_THE_YOUNG = frozenset({"teen_support", "referral", "trusted_person"})

CLEAN_RULE = "V99"
INTENTS = tuple(Intent)
SEVERITIES = tuple(Severity)
SIDE_EFFECTS = tuple(SideEffect)


class Match(Struct, frozen=True, kw_only=True):
    """The row that a fault matched, and the fault's place in the draft.

    Unless two independent sources see it above its ceiling (`is_corroborated`), its grave side effects become a review.
    """

    row: VerdictRow
    spans: tuple[Span, ...] = ()
    flags: tuple[str, ...] = ()
    is_corroborated: bool = True


class Measured(Struct, frozen=True, kw_only=True):
    """A finding compared with its ceiling. `harm` is at least the category's lowest; `over` may be negative."""

    finding: OutputFinding
    harm: Level
    ceiling: Level
    over: int


class _Bench(Struct, frozen=True, kw_only=True):
    """The inputs that every part of a judgement reads."""

    bundle: PolicyBundle
    plan: Plan
    labels_in: RequestLabels
    overlay: TenantOverlay
    subject: Subject
    state: ConversationState
    has_budget: bool


def judge(
    bundle: PolicyBundle,
    plan: Plan,
    labels_in: RequestLabels,
    out: OutputLabels,
    *,
    overlay: TenantOverlay,
    user: UserContext,
    grants: Collection[str],
    attempts: int,
    revisions_max: int,
    required: frozenset[str] = frozenset(),
    trace_id: str = "",
    state: ConversationState = EMPTY,
) -> Verdict:
    """Return the verdict on one draft, under the conversation's `state` before this turn.

    `attempts` counts the drafts so far, this one included; another may be made while it is at most `revisions_max`.
    `required` names the checks without whose report no draft is published. Raises CheckFailed as `plan` does.
    """
    require_known(bundle, labels_in)
    bench = _Bench(
        bundle=bundle,
        plan=plan,
        labels_in=with_doubt(labels_in),
        overlay=overlay,
        subject=subject_of(bundle, labels_in, overlay=overlay, user=user, grants=grants, state=state),
        state=state,
        has_budget=attempts <= revisions_max,
    )
    measured = [_measured(bench, finding) for finding in out.findings if finding.category in bundle.categories]
    matches = [
        *_guards(bench, out, required, is_known=len(measured) == len(out.findings)),
        *[match for each in measured for match in _finding(bench, each)],
        *_draft(bench, out, measured),
    ]
    matches.sort(key=lambda match: (-STRICTNESS[match.row.verdict], match.row.id))
    verdict = matches[0].row.verdict if matches else VerdictKind.PUBLISH
    return Verdict(
        verdict=verdict,
        rule_ids=tuple(dict.fromkeys([match.row.id for match in matches])) or (CLEAN_RULE,),
        policy_ref=bundle.ref,
        overlay_ref=overlay.ref,
        flags=tuple(sorted({flag for match in matches for flag in (*match.flags, match.row.flag) if flag})),
        attempts=attempts,
        redactions=_redactions(matches) if verdict is VerdictKind.REDACT else (),
        side_effects=_side_effects(matches),
        severity_grade=_severity(measured),
        trace_id=trace_id,
    )


def apply_redactions(text: str, spans: Iterable[Span]) -> str:
    """Replace each span of the text by a fixed mark; spans that overlap or touch become one mark.

    Spans count characters. Empty spans and parts beyond the end of the text are ignored.
    """
    kept: list[str] = []
    position = 0
    for start, end in joined((span.start, min(span.end, len(text))) for span in spans):
        kept.extend((text[position:start], REDACTION_MARK))
        position = end
    return "".join((*kept, text[position:]))


def _guards(bench: _Bench, out: OutputLabels, required: frozenset[str], *, is_known: bool) -> list[Match]:
    """Match a guard that could not tell.

    It failed, is missing, names a category that the policy does not know, or left a marked part of the draft unread.
    """
    done = {run.guard for run in out.guards if run.outcome is Outcome.OK}
    failed = [run for run in out.guards if run.outcome is not Outcome.OK]
    is_unread = out.partly_read is not None and out.partly_read.marked_unread > 0
    is_whole = bool(out.guards) and not failed and required <= done and not is_unread
    return [] if is_whole and is_known else _matches(bench, Aspect.GUARD)


def _measured(bench: _Bench, finding: OutputFinding) -> Measured:
    """Compare a finding with its ceiling; an uncertain label of serious harm counts one level higher."""
    level = _ceiling(bench, finding)
    harm = max(finding.harm, bench.bundle.categories[finding.category].harm[0])
    is_doubtful = finding.confidence is Confidence.LOW and harm >= LOW_CONFIDENCE_HARM
    observed = min(4, finding.detail_hi + 1) if is_doubtful else finding.detail_hi
    return Measured(finding=finding, harm=harm, ceiling=level, over=observed - level)


def _finding(bench: _Bench, measured: Measured) -> list[Match]:
    finding = measured.finding
    category = bench.bundle.categories[finding.category]
    is_straddling = finding.detail_lo <= measured.ceiling < finding.detail_hi
    fault = Fault(
        aspect=Aspect.FINDING,
        mode=bench.plan.mode,
        has_budget=bench.has_budget,
        content_class=category.content_class,
        family=category.family,
        harm=measured.harm,
        over=measured.over,
        straddle=finding.detail_hi - finding.detail_lo if is_straddling else 0,
        separable=finding.separable and bool(finding.spans),
    )
    row = first_row(bench.bundle.rules, fault)
    if row is None:
        return []
    return [Match(row=row, spans=finding.spans, is_corroborated=finding.agreed > measured.ceiling)]


def _draft(bench: _Bench, out: OutputLabels, measured: Sequence[Measured]) -> list[Match]:
    """Match the faults of a draft as a whole."""
    missing = [name for name in bench.plan.must_include if not _is_met(bench, out, name)]
    rooted = {name for name in missing if _authority(bench.bundle, name).rank <= Authority.SYSTEM.rank}
    soft = [name for name in out.soft_violations if not _is_waived(bench, name)]
    lesser = [name for name in missing if name not in rooted]
    matches: list[Match] = []
    if out.obeyed_injection or out.privileged_leak:
        matches += _matches(bench, Aspect.LEAK, out.leak_spans, is_separable=out.leak_separable)
    if rooted:
        matches += _matches(bench, Aspect.OBLIGATION, flags=_flags("missing", rooted))
    if out.unfair:
        matches += _matches(bench, Aspect.UNFAIR)
    if out.is_bare_refusal:
        matches += _matches(bench, Aspect.REFUSAL)
    if _declines_needlessly(bench, out, measured):
        matches += _matches(bench, Aspect.DECLINING)
    if soft or lesser:
        known = [name if name in bench.bundle.soft_rules else "other" for name in soft]
        matches += _matches(bench, Aspect.SOFT, flags=(*_flags("soft", known), *_flags("missing", lesser)))
    return matches


def _is_met(bench: _Bench, out: OutputLabels, name: str) -> bool:
    """Return whether an obligation is met: by the draft or, for the help line, by one of the last answers.

    Signs of an acute risk in this turn owe the line anew. For a young person at risk, a trusted adult or a professional
    does for a line; in a crisis nothing does.
    """
    if name in out.obligations_present:
        return True
    if name != CRISIS_LINE:
        return False
    is_crisis = bench.plan.mode in (Mode.CRISIS_SUPPORT, Mode.EMERGENCY_GUIDANCE)
    is_done_otherwise = bench.subject.is_teen and not _LINE_OF_THE_YOUNG.isdisjoint(out.obligations_present)
    was_named = bench.state.line_answers > 0 and not shows_acute_risk(bench.bundle, bench.labels_in)
    return was_named or (is_done_otherwise and not is_crisis)


def _is_waived(bench: _Bench, name: str) -> bool:
    """Return whether the tenant waives a soft rule: only what is at developer level or below can be waived."""
    rule = bench.bundle.soft_rules.get(name)
    is_above = rule is None or rule.authority.rank <= Authority.SYSTEM.rank
    return name in bench.overlay.waived and not is_above


def _declines_needlessly(bench: _Bench, out: OutputLabels, measured: Sequence[Measured]) -> bool:
    """Return whether a draft declines, politely or in part, what is to be answered directly.

    It does not count where declining may be right: an uncertain label, or serious harm seen by any guard.
    """
    if out.declines is Declines.NONE or out.is_bare_refusal or bench.plan.mode is not Mode.DIRECT_ANSWER:
        return False
    asked = bench.labels_in.findings
    is_uncertain = any(finding.confidence is Confidence.LOW for finding in asked)
    is_grave = any(each.harm >= GRAVE_HARM for each in (*asked, *measured))
    return not is_uncertain and not is_grave and not any(each.over > 0 for each in measured)


def _matches(
    bench: _Bench,
    aspect: Aspect,
    spans: tuple[Span, ...] = (),
    *,
    is_separable: bool = False,
    flags: Sequence[str] = (),
) -> list[Match]:
    fault = Fault(
        aspect=aspect,
        mode=bench.plan.mode,
        has_budget=bench.has_budget,
        separable=is_separable and bool(spans),
    )
    row = first_row(bench.bundle.rules, fault)
    return [] if row is None else [Match(row=row, spans=spans, flags=tuple(flags))]


def _flags(kind: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{kind}:{name}" for name in names)


def _authority(bundle: PolicyBundle, name: str) -> Authority:
    """Return an obligation's level; one that the policy does not know counts as root."""
    obligation = bundle.obligations.get(name)
    return Authority.ROOT if obligation is None else obligation.authority


def _ceiling(bench: _Bench, finding: OutputFinding) -> Level:
    """Return the planned ceiling, or a lower one if the draft is more harmful than the request seemed.

    A category that the request was not labelled with gets the ceiling of the request's strictest intent, without any
    context.
    """
    own = [asked for asked in bench.labels_in.findings if asked.category == finding.category]
    alike = own or [RequestFinding(category=finding.category, harm=finding.harm, intent=_strictest(bench.labels_in))]
    levels = [_at_harm(bench, asked, finding.harm) for asked in alike]
    return min(*levels, bench.plan.ceilings.get(finding.category, 4))


def _at_harm(bench: _Bench, asked: RequestFinding, harm: Level) -> Level:
    worse = asked if harm <= asked.harm else structs.replace(asked, harm=harm)
    return ceiling_level(bench.bundle, worse, bench.overlay, bench.subject, bench.labels_in.signals, bench.state)


def _strictest(labels: RequestLabels) -> Intent:
    intents = (floored(finding.intent, labels.signals) for finding in labels.findings)
    return max(intents, key=INTENTS.index, default=Intent.DUAL_USE)


def _redactions(matches: Iterable[Match]) -> tuple[Span, ...]:
    redacting = (match for match in matches if match.row.verdict is VerdictKind.REDACT)
    return ordered_spans(span for match in redacting for span in match.spans)


def _side_effects(matches: Iterable[Match]) -> tuple[SideEffect, ...]:
    wanted = {effect for match in matches for effect in _effects(match)}
    return tuple(sorted(wanted, key=SIDE_EFFECTS.index))


def _effects(match: Match) -> Iterable[SideEffect]:
    if match.is_corroborated:
        return match.row.side_effects
    return (SideEffect.HUMAN_REVIEW if effect in GRAVE_EFFECTS else effect for effect in match.row.side_effects)


def _severity(measured: Sequence[Measured]) -> Severity:
    """Grade how bad publishing would have been: by harm, one grade lower if the ceiling was missed by one."""
    return max([_grade(each.harm, each.over) for each in measured], key=SEVERITIES.index, default=Severity.NONE)


def _grade(harm: Level, over: int) -> Severity:
    """Map H0 to negligible, H1 to low, H2 to moderate, H3 and H4 to high; none at or below the ceiling."""
    if over <= 0:
        return Severity.NONE
    reckoned = max(0, harm - 1) if over == 1 else harm
    return SEVERITIES[min(reckoned + 1, len(SEVERITIES) - 1)]
