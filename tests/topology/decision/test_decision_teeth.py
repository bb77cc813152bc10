"""Faults of the decision code that the tables alone would not show: each test fails for one such fault."""

import msgspec
import pytest

from tests.topology.decision.policy_world import ADULT, GUARDS, OPEN, bundle, document, labels, load
from tests.topology.policy.policy_document import put
from topology.contract.conversation import EMPTY, CategoryMemory, ConversationState, Shown
from topology.contract.events import GrantUse, UserContext
from topology.contract.labels import (
    CategoryId,
    Confidence,
    Declines,
    Intent,
    OutputFinding,
    OutputLabels,
    RequestFinding,
    RequestLabels,
    Signal,
    Span,
    Verdict,
    VerdictKind,
)
from topology.decision.judge import judge
from topology.decision.plan import plan
from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import TenantOverlay
from topology.steps.case import Case

PRIVATE, CYBER, WEAPONS = CategoryId("privacy.private"), CategoryId("cyber.offense"), CategoryId("weapons.conventional")


def asked(category: str, harm: int, intent: Intent, detail: int = 3) -> RequestFinding:
    return RequestFinding(category=CategoryId(category), harm=harm, intent=intent, asked_detail=detail)


def found(category: CategoryId, harm: int, detail: int, *spans: tuple[int, int]) -> OutputFinding:
    return OutputFinding(
        category=category,
        harm=harm,
        detail_lo=detail,
        detail_hi=detail,
        separable=True,
        spans=tuple(Span(start=start, end=end) for start, end in spans),
    )


def verdict(
    request: RequestLabels,
    out: OutputLabels,
    *,
    policy: PolicyBundle | None = None,
    overlay: TenantOverlay = OPEN,
    state: ConversationState = EMPTY,
    grants: frozenset[str] = frozenset(),
    user: UserContext = ADULT,
) -> Verdict:
    """The verdict on a draft, all obligations met."""
    rules = policy or bundle()
    made = plan(rules, request, overlay=overlay, user=user, grants=grants, state=state)
    whole = msgspec.structs.replace(out, obligations_present=made.must_include, guards=GUARDS)
    return judge(
        rules,
        made,
        request,
        whole,
        overlay=overlay,
        user=user,
        grants=grants,
        attempts=1,
        revisions_max=2,
        state=state,
    )


@pytest.mark.parametrize(("authority", "is_waived"), [("system", False), ("root", False), ("guideline", True)])
def test_no_tenant_waives_a_soft_rule_at_system_level(authority: str, *, is_waived: bool) -> None:
    changed = document()
    put("soft_rules/preaching/authority", authority)(changed)
    waiving = msgspec.structs.replace(OPEN, waives=("preaching",))
    made = verdict(labels(), OutputLabels(soft_violations=("preaching",)), policy=load(changed), overlay=waiving)
    assert (made.verdict is VerdictKind.PUBLISH) is is_waived


def test_a_fault_without_a_row_is_held_and_never_released() -> None:
    rules = tuple(row for row in bundle().rules if not row.id.startswith("V06"))
    toothless = msgspec.structs.replace(bundle(), rules=rules)
    made = verdict(
        labels(asked(CYBER, 3, Intent.DUAL_USE)), OutputLabels(findings=(found(CYBER, 3, 3),)), policy=toothless
    )
    assert (made.verdict, made.rule_ids) == (VerdictKind.ESCALATE, ("V00",))


def test_nothing_is_redacted_of_which_nobody_says_where_it_is() -> None:
    request = labels(asked(PRIVATE, 2, Intent.DUAL_USE))
    assert verdict(request, OutputLabels(findings=(found(PRIVATE, 2, 3, (4, 9)),))).verdict is VerdictKind.REDACT
    assert verdict(request, OutputLabels(findings=(found(PRIVATE, 2, 3),))).verdict is not VerdictKind.REDACT
    leak = OutputLabels(privileged_leak=True, leak_separable=True)
    assert verdict(labels(), leak).verdict is not VerdictKind.REDACT


def test_of_two_faults_both_are_cut_out() -> None:
    out = OutputLabels(
        findings=(found(PRIVATE, 2, 3, (4, 9), (30, 34)),),
        privileged_leak=True,
        leak_separable=True,
        leak_spans=(Span(start=50, end=60),),
    )
    made = verdict(labels(asked(PRIVATE, 2, Intent.DUAL_USE)), out)
    assert [(span.start, span.end) for span in made.redactions] == [(4, 9), (30, 34), (50, 60)]


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_findings_of_one_category_the_lower_ceiling_decides_whichever_comes_first(*, turned: bool) -> None:
    pair = (asked(CYBER, 2, Intent.BENIGN), asked(CYBER, 3, Intent.DUAL_USE))
    request = labels(*(pair[::-1] if turned else pair))
    made = plan(bundle(), request, overlay=OPEN, user=ADULT, grants=())
    assert made.ceilings[CYBER] == 1
    assert verdict(request, OutputLabels(findings=(found(CYBER, 2, 2),))).verdict is not VerdictKind.PUBLISH


def test_a_draft_is_judged_in_its_conversation() -> None:
    now = Shown(turn=1, at_ms=1)
    told = ConversationState(turns=1, categories={WEAPONS: CategoryMemory(harm=4, intent=Intent.MALICIOUS, shown=now)})
    request, out = labels(asked(WEAPONS, 3, Intent.BENIGN, 2)), OutputLabels(findings=(found(WEAPONS, 3, 2),))
    assert verdict(request, out).verdict is VerdictKind.PUBLISH
    assert verdict(request, out, state=told).verdict is not VerdictKind.PUBLISH


def test_a_wrapper_of_an_earlier_turn_counts_when_a_draft_is_judged() -> None:
    wrapped = ConversationState(turns=1, shown_signals={Signal.JAILBREAK_ROLEPLAY: Shown(turn=1, at_ms=1)})
    request, out = labels(asked(WEAPONS, 3, Intent.BENIGN, 2)), OutputLabels(findings=(found(WEAPONS, 3, 2),))
    assert verdict(request, out, state=wrapped).verdict is not VerdictKind.PUBLISH


@pytest.mark.parametrize("status", ["expired", "not_yet_valid", "foreign", "unknown_key", "altered"])
def test_a_grant_that_does_not_hold_is_none(status: str) -> None:
    uses = (GrantUse(grant="cyber_trusted_access", key_id="k", status=status),)
    case = Case.__new__(Case)
    case.grants = uses
    assert case.granted == frozenset()
    request, out = labels(asked(CYBER, 3, Intent.DUAL_USE)), OutputLabels(findings=(found(CYBER, 3, 3),))
    assert verdict(request, out, grants=frozenset({"cyber_trusted_access"})).verdict is VerdictKind.PUBLISH
    assert verdict(request, out, grants=case.granted).verdict is not VerdictKind.PUBLISH


@pytest.mark.parametrize("declines", [Declines.PARTLY, Declines.FULLY])
def test_declining_what_is_to_be_answered_is_a_fault(declines: Declines) -> None:
    made = verdict(labels(), OutputLabels(declines=declines))
    assert (made.verdict, made.rule_ids, made.flags) == (VerdictKind.REVISE, ("V12e",), ("over_refusal",))


@pytest.mark.parametrize(
    ("request_labels", "found_in_draft"),
    [
        (labels(asked(CYBER, 3, Intent.DUAL_USE)), ()),
        (labels(asked(CYBER, 3, Intent.BENIGN, 1)), ()),
        (labels(msgspec.structs.replace(asked("cyber.defense", 1, Intent.BENIGN), confidence=Confidence.LOW)), ()),
        (labels(), (found(WEAPONS, 3, 1),)),
    ],
    ids=["limited", "grave request", "uncertain request", "grave draft"],
)
def test_declining_is_no_fault_where_it_may_be_right(
    request_labels: RequestLabels, found_in_draft: tuple[OutputFinding, ...]
) -> None:
    made = verdict(request_labels, OutputLabels(declines=Declines.FULLY, findings=found_in_draft))
    assert "V12e" not in made.rule_ids


def test_a_bare_refusal_is_one_fault_and_not_two() -> None:
    made = verdict(labels(), OutputLabels(declines=Declines.FULLY, is_bare_refusal=True))
    assert made.rule_ids == ("V12c",)
