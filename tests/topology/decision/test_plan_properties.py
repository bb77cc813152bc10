"""What must hold of every plan."""

import msgspec
import pytest
from hypothesis import given

from tests.effort import examples
from tests.topology.decision.policy_world import ADULT, GRANTS, LABELER, OPEN, OVERLAYS, REQUESTS, USERS, bundle
from topology.contract.errors import CheckFailed
from topology.contract.events import UserContext
from topology.contract.labels import CategoryId, Intent, Mode, Outcome, RequestFinding, RequestLabels, Vulnerability
from topology.decision.ceilings import settled_age
from topology.decision.plan import plan, tighten
from topology.policy.documents import digest
from topology.policy.overlays import TenantOverlay

MODES = tuple(Mode)


@examples(400)
@given(REQUESTS, OVERLAYS, USERS, GRANTS)
def test_every_request_gets_one_mode_that_its_ceilings_bear_out(
    request_labels: RequestLabels, overlay: TenantOverlay, user: UserContext, grants: frozenset[str]
) -> None:
    made = plan(bundle(), request_labels, overlay=overlay, user=user, grants=grants)
    for finding in request_labels.findings:
        ceiling = made.ceilings[finding.category]
        is_barred = ceiling == 0 and finding.asked_detail >= 1
        is_over = finding.asked_detail > ceiling or (finding.intent is Intent.MALICIOUS and finding.asked_detail >= 1)
        least = Mode.REFUSE_REDIRECT if is_barred else Mode.SAFE_COMPLETION if is_over else Mode.DIRECT_ANSWER
        assert len(request_labels.findings) > 1 or MODES.index(made.mode) >= MODES.index(least)
    if request_labels.vulnerability is Vulnerability.ACUTE_SELF_HARM:
        assert made.mode is Mode.CRISIS_SUPPORT
    if request_labels.vulnerability is Vulnerability.HARM_TO_OTHERS:
        assert made.mode in {Mode.CRISIS_SUPPORT, Mode.REFUSE_REDIRECT, Mode.HARD_REFUSE}
        assert {"pause_and_distance", "crisis_line"} <= set(made.must_include)


@examples(300)
@given(REQUESTS, OVERLAYS, USERS, GRANTS)
def test_a_plan_does_not_depend_on_the_order_of_findings(
    request_labels: RequestLabels, overlay: TenantOverlay, user: UserContext, grants: frozenset[str]
) -> None:
    turned = msgspec.structs.replace(request_labels, findings=request_labels.findings[::-1])
    one = plan(bundle(), request_labels, overlay=overlay, user=user, grants=grants)
    other = plan(bundle(), turned, overlay=overlay, user=user, grants=grants)
    assert (one.mode, one.ceilings, set(one.withhold), set(one.must_include)) == (
        other.mode,
        other.ceilings,
        set(other.withhold),
        set(other.must_include),
    )


@examples(300)
@given(REQUESTS, OVERLAYS, USERS, GRANTS)
def test_a_plan_is_recomputed_from_labels_with_a_settled_age(
    request_labels: RequestLabels, overlay: TenantOverlay, user: UserContext, grants: frozenset[str]
) -> None:
    made = plan(bundle(), request_labels, overlay=overlay, user=user, grants=grants)
    stored = settled_age(request_labels, user)
    assert plan(bundle(), stored, overlay=overlay, user=UserContext(), grants=grants) == made


@examples(200)
@given(REQUESTS)
def test_the_hash_covers_every_other_field(request_labels: RequestLabels) -> None:
    made = plan(bundle(), request_labels, overlay=OPEN, user=ADULT, grants=())
    fields = msgspec.to_builtins(made)
    stated = fields.pop("plan_hash")
    assert stated == digest(fields)


@examples(200)
@given(REQUESTS)
def test_tightening_lowers_every_ceiling_by_one_and_no_further_than_nothing(request_labels: RequestLabels) -> None:
    made = plan(bundle(), request_labels, overlay=OPEN, user=ADULT, grants=())
    tight = tighten(made)
    assert tight.ceilings == {name: max(0, level - 1) for name, level in made.ceilings.items()}
    assert tight.mode is made.mode
    assert tight.plan_hash != made.plan_hash


def test_a_request_without_findings_is_answered() -> None:
    made = plan(bundle(), RequestLabels(labeler=LABELER), overlay=OPEN, user=ADULT, grants=())
    assert (made.mode, made.ceilings) == (Mode.DIRECT_ANSWER, {"none": 4})


def test_a_label_of_unknown_category_could_not_tell() -> None:
    odd = RequestLabels(labeler=LABELER, findings=(RequestFinding(category=CategoryId("made.up"), harm=1),))
    with pytest.raises(CheckFailed) as failure:
        plan(bundle(), odd, overlay=OPEN, user=ADULT, grants=())
    assert failure.value.outcome is Outcome.UNPARSABLE
    assert "made.up" not in str(failure.value)
