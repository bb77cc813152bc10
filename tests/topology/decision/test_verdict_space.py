"""What holds of every verdict: shown for each combination of a finite space, none left out."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations_with_replacement, product

import msgspec
import numpy as np
import pytest

from tests.topology.decision.plan_space import INTENTS, MODES, Levels
from tests.topology.decision.policy_world import ADULT, CATEGORIES, GUARDS, OPEN, bundle, labels
from topology.contract.labels import (
    CategoryId,
    Confidence,
    GuardRun,
    Mode,
    Outcome,
    OutputFinding,
    OutputLabels,
    Plan,
    RequestFinding,
    RequestLabels,
    Span,
    Verdict,
    VerdictKind,
)
from topology.decision.judge import judge
from topology.decision.plan import plan
from topology.policy.bundle import Aspect, ContentClass, Family
from topology.policy.verdict_table import STRICTNESS, UNMATCHED, Fault, first_row

Record = Callable[[str, object], None]
REVISIONS_MAX = 2
SPENT = REVISIONS_MAX + 1
VERDICTS = tuple(VerdictKind)
NO_ROW, NO_RULE = -1, -2
HELD, PART, WHOLE = range(3)
"""How much of a draft a verdict lets out."""

OVERS, STRADDLES = range(-4, 5), range(5)
DETAILS = tuple(combinations_with_replacement(range(5), 2))
"""Lowest and highest detail among the guards."""

FAULTY = (Aspect.LEAK, Aspect.OBLIGATION, Aspect.UNFAIR)
"""Faults that no draft leaves with."""


@cache
def table() -> Levels:
    """Verdicts by aspect, class, family, harm, over, straddle, separable, budget left, mode; or that no row fits."""
    axes = (Aspect, ContentClass, Family, range(5), OVERS, STRADDLES, (False, True), (True, False), Mode)
    ranks = {row.id: VERDICTS.index(row.verdict) for row in bundle().rules} | {UNMATCHED.id: NO_RULE}
    rows = (
        first_row(
            bundle().rules,
            Fault(
                aspect=aspect,
                content_class=content_class,
                family=family,
                harm=harm,
                over=over,
                straddle=straddle,
                separable=separable,
                has_budget=has_budget,
                mode=mode,
            ),
        )
        for aspect, content_class, family, harm, over, straddle, separable, has_budget, mode in product(*axes)
    )
    found = np.fromiter((NO_ROW if row is None else ranks[row.id] for row in rows), np.int8)
    return found.reshape([len(axis) for axis in axes])


def verdicts_of(aspect: Aspect) -> Levels:
    """The part of the table for one aspect; axes: class, family, harm, over, straddle, separable, budget, mode."""
    return table()[tuple(Aspect).index(aspect)]


def released(verdicts: Levels) -> Levels:
    """How much each verdict lets out."""
    is_whole = (verdicts == NO_ROW) | (verdicts == VERDICTS.index(VerdictKind.PUBLISH))
    is_part = verdicts == VERDICTS.index(VerdictKind.REDACT)
    return np.select([is_whole, is_part], [WHOLE, PART], HELD).astype(np.int8)


def test_every_fault_has_one_row_and_every_row_one_verdict(record_property: Record) -> None:
    assert not (table() == NO_RULE).any()
    findings = verdicts_of(Aspect.FINDING)
    assert not (findings[:, :, :, OVERS.index(1) :] == NO_ROW).any()
    for aspect in Aspect:
        if aspect not in {Aspect.FINDING, Aspect.REFUSAL, Aspect.DECLINING}:
            assert not (verdicts_of(aspect) == NO_ROW).any()
    direct = verdicts_of(Aspect.DECLINING)[..., MODES.index(Mode.DIRECT_ANSWER)]
    assert not (direct == NO_ROW).any()
    assert (np.delete(verdicts_of(Aspect.DECLINING), MODES.index(Mode.DIRECT_ANSWER), axis=-1) == NO_ROW).all()
    record_property("combinations of the verdict table", table().size)


def test_nothing_above_its_ceiling_is_published_whole() -> None:
    assert not (released(verdicts_of(Aspect.FINDING))[:, :, :, OVERS.index(1) :] == WHOLE).any()


def test_only_what_can_be_cut_out_is_redacted() -> None:
    is_redacted = table() == VERDICTS.index(VerdictKind.REDACT)
    assert not np.moveaxis(is_redacted, 6, 0)[0].any()


def test_nothing_is_revised_without_budget() -> None:
    is_revised = table() == VERDICTS.index(VerdictKind.REVISE)
    with_budget, without = np.moveaxis(is_revised, 7, 0)
    assert with_budget.any()
    assert not without.any()


def test_a_guard_that_could_not_tell_always_withholds() -> None:
    withholding = [VERDICTS.index(kind) for kind in (VerdictKind.ESCALATE, VerdictKind.REFUSE)]
    assert np.isin(verdicts_of(Aspect.GUARD), withholding).all()


@pytest.mark.parametrize("aspect", FAULTY)
def test_no_fault_of_the_platforms_rules_leaves_whole(aspect: Aspect) -> None:
    assert not (released(verdicts_of(aspect)) == WHOLE).any()


def test_more_detail_or_more_harm_releases_no_more() -> None:
    out = released(verdicts_of(Aspect.FINDING))
    agreed = out[:, :, :, :, 0]
    astride = out[:, :, :, OVERS.index(1) :, 1:]  # one guard is above the ceiling, so the draft is
    for part in (agreed, astride):
        assert np.all(np.diff(part, axis=2) <= 0)
        assert np.all(np.diff(part, axis=3) <= 0)
    assert np.all(astride[:, :, :, 1:, 1:] <= astride[:, :, :, :-1, :-1])  # the higher guard alone goes up by one
    assert np.all(astride <= agreed[:, :, :, OVERS.index(0), np.newaxis, np.newaxis])


def judged(request: RequestLabels, made: Plan, out: OutputLabels, attempts: int) -> Verdict:
    return judge(
        bundle(),
        made,
        request,
        out,
        overlay=OPEN,
        user=ADULT,
        grants=(),
        attempts=attempts,
        revisions_max=REVISIONS_MAX,
    )


def drafts(category: CategoryId) -> Iterator[OutputLabels]:
    """Drafts with one finding, all else in order; by harm, details, confidence, whether it can be cut out."""
    for harm, (low, high), confidence, spans in product(range(5), DETAILS, Confidence, ((), (Span(start=0, end=3),))):
        finding = OutputFinding(
            category=category,
            harm=harm,
            detail_lo=low,
            detail_hi=high,
            confidence=confidence,
            separable=bool(spans),
            spans=spans,
        )
        yield OutputLabels(findings=(finding,), guards=GUARDS, obligations_present=tuple(bundle().obligations))


@cache
def single_findings() -> Levels:
    """Verdicts on one finding by category, intent, planned ceiling, harm, details, confidence, separable, attempts."""
    ranks: list[int] = []
    for name, intent in product(CATEGORIES, INTENTS):
        category = CategoryId(name)
        request = labels(RequestFinding(category=category, harm=0, intent=intent))
        made = plan(bundle(), request, overlay=OPEN, user=ADULT, grants=())
        tested = tuple(drafts(category))
        for level in range(5):
            lowered = msgspec.structs.replace(made, ceilings={category: level})
            ranks.extend(
                VERDICTS.index(judged(request, lowered, out, attempts).verdict)
                for out, attempts in product(tested, (1, SPENT))
            )
    shape = (len(CATEGORIES), len(INTENTS), 5, 5, len(DETAILS), len(Confidence), 2, 2)
    return np.array(ranks, np.int8).reshape(shape)


def test_exactly_what_is_at_or_below_its_ceiling_is_published(record_property: Record) -> None:
    found = single_findings()
    for index, name in enumerate(CATEGORIES):
        category = bundle().categories[CategoryId(name)]
        for (column, intent), level, harm in product(enumerate(INTENTS), range(5), range(5)):
            asked = RequestFinding(category=CategoryId(name), harm=harm, intent=intent)
            made = plan(bundle(), labels(asked), overlay=OPEN, user=ADULT, grants=())
            ceiling = min(level, made.ceilings[asked.category])
            is_grave = max(harm, category.harm[0]) >= 3
            for row, (_, high) in enumerate(DETAILS):
                is_published = found[index, column, level, harm, row] == VERDICTS.index(VerdictKind.PUBLISH)
                observed = (high, min(4, high + 1) if is_grave else high)
                for confidence in (0, 1):
                    assert np.all(is_published[confidence] == (observed[confidence] <= ceiling))
    record_property("single findings judged", found.size)


def test_no_single_finding_is_revised_once_the_budget_is_spent() -> None:
    assert not (single_findings()[..., 1] == VERDICTS.index(VerdictKind.REVISE)).any()


def test_a_lower_ceiling_more_harm_or_more_detail_releases_no_more() -> None:
    out = released(single_findings())
    assert np.all(np.diff(out, axis=2) >= 0)
    assert np.all(np.diff(out, axis=3) <= 0)
    for (row, (low, high)), (worse, (more_low, more_high)) in product(enumerate(DETAILS), repeat=2):
        if more_low >= low and more_high >= high:
            assert np.all(out[..., worse, :, :, :] <= out[..., row, :, :, :])
    assert np.all(out[..., 1, :, :] <= out[..., 0, :, :])  # less sure


FAULT_KINDS = ("csae", "cbrn.weaponization", "cyber.offense", "drugs.use", "hate", "harassment", "ip.verbatim",
               "privacy.private", "regulated_advice.legal")  # fmt: skip
"""A category of each class and family that the table tells apart."""
SHAPES: tuple[tuple[int, int, int, bool], ...] = (
    (0, 0, 0, False), (1, 1, 1, False), (2, 1, 2, False), (2, 3, 3, True), (3, 1, 3, False), (3, 2, 2, True),
    (4, 1, 4, False), (4, 4, 4, True),
)  # fmt: skip
"""Harm, lowest and highest detail, whether it can be cut out."""
SWITCHES = (False, True)


def combined() -> Iterator[tuple[OutputLabels, int, Mode]]:
    """A finding with every other fault of the draft, there or not, in every mode, with and without budget."""
    failed = GuardRun(guard="bias", version="1", outcome=Outcome.TIMEOUT)
    leaks = ((False, ()), (True, ()), (True, (Span(start=4, end=9),)))
    for name, (harm, low, high, is_cut) in product(FAULT_KINDS, SHAPES):
        finding = OutputFinding(
            category=CategoryId(name),
            harm=harm,
            detail_lo=low,
            detail_hi=high,
            separable=is_cut,
            spans=(Span(start=0, end=3),) * is_cut,
        )
        for has_failed, (leaked, spans), missing, unfair, bare, soft, attempts, mode in product(
            SWITCHES, leaks, SWITCHES, SWITCHES, SWITCHES, SWITCHES, (1, SPENT), Mode
        ):
            out = OutputLabels(
                findings=(finding,),
                guards=(*GUARDS, failed) if has_failed else GUARDS,
                privileged_leak=leaked,
                leak_separable=bool(spans),
                leak_spans=spans,
                obligations_present=() if missing else ("crisis_line",),
                unfair=unfair,
                is_bare_refusal=bare,
                soft_violations=("preaching",) if soft else (),
            )
            yield out, attempts, mode


def test_faults_together_get_the_strictest_verdict_of_each_alone(record_property: Record) -> None:
    request = labels()
    made = plan(bundle(), request, overlay=OPEN, user=ADULT, grants=())
    owing = {mode: msgspec.structs.replace(made, mode=mode, must_include=("crisis_line",)) for mode in Mode}

    @cache
    def alone(out: OutputLabels, attempts: int, mode: Mode) -> VerdictKind:
        return judged(request, owing[mode], out, attempts).verdict

    clean = OutputLabels(guards=GUARDS, obligations_present=("crisis_line",))
    count = 0
    for out, attempts, mode in combined():
        verdict = judged(request, owing[mode], out, attempts)
        parts = (
            msgspec.structs.replace(clean, findings=out.findings),
            msgspec.structs.replace(clean, guards=out.guards),
            msgspec.structs.replace(
                clean,
                privileged_leak=out.privileged_leak,
                leak_separable=out.leak_separable,
                leak_spans=out.leak_spans,
            ),
            msgspec.structs.replace(clean, obligations_present=out.obligations_present),
            msgspec.structs.replace(clean, unfair=out.unfair),
            msgspec.structs.replace(clean, is_bare_refusal=out.is_bare_refusal),
            msgspec.structs.replace(clean, soft_violations=out.soft_violations),
        )
        each = [alone(part, attempts, mode) for part in parts]
        assert verdict.verdict is max(each, key=STRICTNESS.__getitem__)
        assert bool(verdict.redactions) == (verdict.verdict is VerdictKind.REDACT)
        if verdict.verdict is VerdictKind.PUBLISH:
            assert out.guards == GUARDS
            assert (out.unfair, out.privileged_leak) == (False, False)
            assert out.obligations_present
        if verdict.verdict is VerdictKind.REVISE:
            assert attempts <= REVISIONS_MAX
        if out.guards != GUARDS:
            assert verdict.verdict in {VerdictKind.ESCALATE, VerdictKind.REFUSE}
        count += 1
    record_property("combined faults judged", count)


@pytest.mark.parametrize("mode", Mode)
def test_a_clean_draft_is_published_under_every_mode(mode: Mode) -> None:
    made = plan(bundle(), labels(), overlay=OPEN, user=ADULT, grants=())
    clean = OutputLabels(guards=GUARDS)
    for attempts in (1, SPENT):
        verdict = judged(labels(), msgspec.structs.replace(made, mode=mode), clean, attempts)
        assert verdict.rule_ids == ("V99",)
