"""The worked examples of drafts, P1 to P14, and the rulings on the verdict table."""

import msgspec
import pytest

from tests.topology.decision.policy_world import GUARDS, OPEN, OutputCase, bundle, labels, output_cases, request_cases
from topology.contract.drafts import CheckReport
from topology.contract.events import UserContext
from topology.contract.labels import (
    CategoryId,
    Confidence,
    Context,
    GuardRun,
    Intent,
    Outcome,
    OutputFinding,
    OutputLabels,
    PartlyRead,
    Plan,
    RequestFinding,
    RequestLabels,
    SideEffect,
    Span,
    Verdict,
    VerdictKind,
)
from topology.decision.judge import judge, merge_reports
from topology.decision.plan import plan
from topology.policy.overlays import TenantOverlay

REQUESTS = request_cases()
CYBER = CategoryId("cyber.offense")


def draft(
    request: RequestLabels,
    *findings: OutputFinding,
    made: Plan | None = None,
    attempts: int = 1,
    overlay: TenantOverlay = OPEN,
    out: OutputLabels | None = None,
    required: frozenset[str] = frozenset(),
) -> Verdict:
    """The verdict on a draft with these findings, all obligations met."""
    user = UserContext()
    made = made or plan(bundle(), request, overlay=overlay, user=user, grants=())
    seen = out or OutputLabels(findings=findings, obligations_present=made.must_include, guards=GUARDS)
    return judge(
        bundle(),
        made,
        request,
        seen,
        overlay=overlay,
        user=user,
        grants=(),
        attempts=attempts,
        revisions_max=2,
        required=required,
    )


def asked(category: CategoryId = CYBER, harm: int = 3, intent: Intent = Intent.DUAL_USE) -> RequestLabels:
    """A request with one finding, asking for working detail."""
    return labels(RequestFinding(category=category, harm=harm, intent=intent, asked_detail=3))


def found(
    category: CategoryId = CYBER, harm: int = 3, low: int = 1, high: int = 1, confidence: Confidence = Confidence.HIGH
) -> OutputFinding:
    """A finding in a draft."""
    return OutputFinding(category=category, harm=harm, detail_lo=low, detail_hi=high, confidence=confidence)


def test_all_fourteen_examples_are_there() -> None:
    assert {case.id.rstrip("ab") for case in output_cases()} == {f"P{number}" for number in range(1, 15)}


@pytest.mark.parametrize("case", output_cases(), ids=lambda case: case.id)
def test_a_worked_example_gets_its_verdict(case: OutputCase) -> None:
    request = REQUESTS[case.case]
    made = request.plan()
    runs = tuple(msgspec.structs.replace(run, outcome=case.failed_guard) for run in GUARDS)
    owed = made.must_include if case.owed == "all" else case.owed
    verdict = judge(
        bundle(),
        made,
        request.labels(),
        msgspec.structs.replace(case.out, obligations_present=owed, guards=runs),
        overlay=request.tenant(),
        user=request.user(),
        grants=request.grants,
        attempts=case.attempts,
        revisions_max=2,
        trace_id="t",
    )
    assert verdict == Verdict(
        verdict=case.verdict,
        rule_ids=case.rules,
        policy_ref=bundle().ref,
        overlay_ref=request.tenant().ref,
        flags=case.flags,
        attempts=case.attempts,
        redactions=case.redactions,
        side_effects=case.side_effects,
        severity_grade=case.severity,
        trace_id="t",
    )


def test_a_required_check_without_a_report_holds_the_draft() -> None:
    verdict = draft(asked(), required=frozenset({"classification", "bias"}))
    assert (verdict.verdict, verdict.rule_ids) == (VerdictKind.ESCALATE, ("V01",))


def test_no_guards_at_all_hold_the_draft() -> None:
    assert draft(asked(), out=OutputLabels()).rule_ids == ("V01",)


def test_a_category_that_the_policy_does_not_know_holds_the_draft() -> None:
    assert draft(asked(), found(CategoryId("made.up"))).rule_ids == ("V01",)


def test_a_category_nobody_asked_about_is_judged_by_the_strictest_intent_asked() -> None:
    harmless = asked(CategoryId("none"), harm=0, intent=Intent.MALICIOUS)
    made = plan(bundle(), harmless, overlay=OPEN, user=UserContext(), grants=())
    assert draft(harmless, found(harm=2, high=1), made=made).verdict is VerdictKind.REVISE
    benign = asked(CategoryId("none"), harm=0, intent=Intent.BENIGN)
    assert draft(benign, found(harm=2, high=3)).verdict is VerdictKind.PUBLISH


def test_a_draft_more_harmful_than_its_request_is_held_to_the_lower_ceiling() -> None:
    mild = asked(CategoryId("drugs.use"), harm=1, intent=Intent.BENIGN)
    assert draft(mild, found(CategoryId("drugs.use"), harm=1, high=4)).verdict is VerdictKind.PUBLISH
    assert draft(mild, found(CategoryId("drugs.use"), harm=3, low=3, high=3)).rule_ids == ("V06a",)


def test_an_uncertain_label_of_something_serious_counts_one_higher() -> None:
    assert draft(asked(), found(confidence=Confidence.LOW)).rule_ids == ("V06a",)
    lesser = asked(harm=2)
    assert draft(lesser, found(harm=2, high=2, confidence=Confidence.LOW)).verdict is VerdictKind.PUBLISH


def test_guards_that_differ_are_compared_before_the_uncertain_level_is_added() -> None:
    assert draft(asked(), found(low=1, high=2, confidence=Confidence.LOW)).rule_ids == ("V06a",)


def test_a_harm_level_below_the_category_does_not_soften_the_verdict() -> None:
    assert draft(asked(CategoryId("csae")), found(CategoryId("csae"), harm=0, high=2)).rule_ids == ("V02",)


def test_a_tenant_may_waive_style_but_not_what_is_owed_at_root() -> None:
    waiving = msgspec.structs.replace(OPEN, waives=("preaching",))
    preaching = OutputLabels(soft_violations=("preaching",), guards=GUARDS)
    assert draft(asked(intent=Intent.BENIGN), out=preaching, overlay=waiving).verdict is VerdictKind.PUBLISH
    assert draft(REQUESTS[29].labels(), out=preaching, overlay=waiving).rule_ids == ("V10a",)


def test_a_missing_referral_is_a_soft_fault() -> None:
    verdict = draft(REQUESTS[51].labels(), out=OutputLabels(guards=GUARDS))
    assert (verdict.rule_ids, verdict.flags) == (("V13a",), ("missing:referral", "soft_fault"))


def test_the_deciding_rule_comes_first_and_side_effects_add_up() -> None:
    span = (Span(start=0, end=4),)
    out = OutputLabels(
        findings=(found(high=3, low=3),), privileged_leak=True, leak_separable=True, leak_spans=span, guards=GUARDS
    )
    verdict = draft(asked(), out=out)
    assert verdict.rule_ids == ("V06a", "V09a")
    assert [effect.value for effect in verdict.side_effects] == ["human_review", "security_signal"]
    assert verdict.redactions == ()


def test_one_failed_guard_among_many_holds_the_draft() -> None:
    runs = (*GUARDS, GuardRun(guard="bias", version="1", outcome=Outcome.CRASHED))
    assert draft(asked(), out=OutputLabels(guards=runs)).verdict is VerdictKind.ESCALATE


@pytest.mark.parametrize(
    ("details", "is_paged"),
    [
        ({"classification": 3}, False),
        ({"classification": 3, "guard_llm": 2}, False),
        ({"classification": 3, "guard_llm": 3}, True),
        ({"classification": 4, "guard_llm": 3, "bias": 1}, True),
        ({"classification": 4, "guard_llm": 2, "bias": 1}, False),
    ],
)
def test_people_are_paged_only_if_two_sources_see_more_than_is_allowed(details: dict[str, int], is_paged: bool) -> None:
    csae = CategoryId("csae")
    seen = RequestFinding(category=csae, harm=4, intent=Intent.BENIGN, context=Context.PROTECTIVE, asked_detail=2)
    reports = [
        CheckReport(check=name, version="1", findings=(found(csae, harm=4, low=detail, high=detail),))
        for name, detail in details.items()
    ]
    verdict = draft(labels(seen), out=merge_reports(reports, GUARDS))
    assert verdict.rule_ids == ("V02",)
    assert (SideEffect.PAGE in verdict.side_effects) is is_paged
    assert (SideEffect.HUMAN_REVIEW in verdict.side_effects) is not is_paged


def test_one_check_with_two_sources_says_what_both_see() -> None:
    both = msgspec.structs.replace(found(high=3, low=3), sources=("encoder", "rules"), agreed=1)
    reports = [CheckReport(check="classification", version="1", findings=(both,))]
    assert merge_reports(reports, GUARDS).findings[0].agreed == 1
    for detail, agreed in ((1, 1), (2, 2), (4, 3)):
        third = CheckReport(check="guard_llm", version="1", findings=(found(high=detail, low=detail),))
        assert merge_reports([*reports, third], GUARDS).findings[0].agreed == agreed


READ = PartlyRead(read=64, windows=300)


def test_only_a_draft_of_which_a_marked_part_is_unread_is_held() -> None:
    marked = msgspec.structs.replace(READ, marked_unread=1)
    for partial, verdict in ((READ, VerdictKind.PUBLISH), (marked, VerdictKind.ESCALATE)):
        assert draft(labels(), out=OutputLabels(guards=GUARDS, partly_read=partial)).verdict is verdict


def test_of_several_reports_the_one_that_leaves_most_in_doubt_counts() -> None:
    doubtful = PartlyRead(read=70, windows=300, marked_unread=2)
    reports = [
        CheckReport(check="bias", version="1", partly_read=READ),
        CheckReport(check="classification", version="1", partly_read=doubtful),
        CheckReport(check="logging", version="1"),
    ]
    assert merge_reports(reports, GUARDS).partly_read == doubtful
    assert merge_reports(reports[2:], GUARDS).partly_read is None
