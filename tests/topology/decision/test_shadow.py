"""Candidate policies are judged beside the live one, their differences are published, and nothing follows from them."""

import msgspec
import pytest
from hypothesis import given, settings

from tests.topology.decision import policy_world
from tests.topology.steps.pipeline_world import BUNDLE, Bench, Ended, finding, finds, labelled
from topology.contract.events import SHADOWS_MAX, Action, Shift
from topology.contract.labels import CategoryId, OutputLabels, RequestLabels, VerdictKind
from topology.contract.names import ShadowOutcome
from topology.policy.bundle import PolicyBundle
from topology.policy.in_force import Policies
from topology.policy.overlays import STRICTEST
from topology.telemetry.metrics import Metric

FRAUD = CategoryId("wrongdoing.nonviolent")


def with_ceiling(level: int) -> PolicyBundle:
    """The policy with one ceiling for fraud, whatever the intent, as version 9.9.<level>."""
    rule = msgspec.structs.replace(BUNDLE.categories[FRAUD], fixed=(level, level, level))
    named = msgspec.structs.replace(BUNDLE.policy, version=f"9.9.{level}")
    return msgspec.structs.replace(BUNDLE, policy=named, categories={**BUNDLE.categories, FRAUD: rule})


def answered(*shadows: PolicyBundle, detail: int = 2) -> tuple[Bench, Ended]:
    """An event about fraud whose live ceiling is D2, with a draft of that much detail, beside `shadows`."""
    said = finds(finding(FRAUD, 2, detail), once=True)
    bench = Bench(labels=labelled(FRAUD, 2, asked=2), classification=said, policies=Policies(BUNDLE, shadows=shadows))
    return bench, bench.answer()


def count(bench: Bench, version: str, outcome: ShadowOutcome) -> float:
    return bench.metrics.value(Metric.SHADOW_DECISIONS, policy_version=version, outcome=outcome.value)


@pytest.mark.parametrize(
    ("level", "detail", "shift", "verdict", "action"),
    [
        (1, 2, Shift.STRICTER, VerdictKind.REVISE, None),
        (4, 3, Shift.LOOSER, VerdictKind.PUBLISH, Action.PUBLISHED),
        (3, 2, Shift.LOOSER, None, Action.PUBLISHED),
    ],
)
def test_a_difference_says_what_would_have_been(
    level: int, detail: int, shift: Shift, verdict: VerdictKind | None, action: Action | None
) -> None:
    bench, ended = answered(with_ceiling(level), detail=detail)
    (found,) = ended.audit.shadows
    assert (found.shift, found.verdict, found.action) == (shift, verdict, action)
    assert found.ceilings == {FRAUD: level}
    assert found.attempt == (0 if verdict is None else 1)
    assert found.policy_ref == with_ceiling(level).ref
    assert count(bench, f"9.9.{level}", ShadowOutcome(shift.value)) == 1


def test_a_candidate_that_decides_the_same_is_counted_and_not_listed() -> None:
    bench, ended = answered(with_ceiling(2))
    assert (ended.audit.shadows, ended.audit.shadow_count) == ((), 1)
    assert count(bench, "9.9.2", ShadowOutcome.SAME) == 1


def test_nothing_follows_from_a_candidate() -> None:
    alone = answered()[1]
    beside = answered(with_ceiling(0), with_ceiling(4))[1]
    assert beside.response == alone.response
    assert (beside.audit.plan, beside.audit.action) == (alone.audit.plan, alone.audit.action)
    assert len(beside.audit.shadows) == 2


def test_a_candidate_that_breaks_is_counted_and_the_answer_leaves() -> None:
    broken = msgspec.structs.replace(with_ceiling(1), base_ceiling={}, modes={})
    bench, ended = answered(broken, with_ceiling(1))
    assert ended.response.action is Action.PUBLISHED
    assert (len(ended.audit.shadows), ended.audit.shadow_count) == (1, 1)
    assert count(bench, "9.9.1", ShadowOutcome.FAILED) == 1
    assert count(bench, "9.9.1", ShadowOutcome.STRICTER) == 1


def test_no_more_candidates_are_judged_than_the_bound() -> None:
    _, ended = answered(*[with_ceiling(1)] * (SHADOWS_MAX + 3))
    assert (len(ended.audit.shadows), ended.audit.shadow_count) == (SHADOWS_MAX, SHADOWS_MAX)


@settings(max_examples=60, deadline=None)
@given(labels=policy_world.REQUESTS, draft=policy_world.OUTPUTS)
def test_the_live_policy_as_its_own_candidate_never_differs(labels: RequestLabels, draft: OutputLabels) -> None:
    said = finds(*draft.findings, unfair=draft.unfair, bare_refusal=draft.is_bare_refusal)
    policies = Policies(BUNDLE, {"t1": STRICTEST}, (BUNDLE,))
    ended = Bench(labels=labels, classification=said, policies=policies).answer()
    assert (ended.audit.shadows, ended.audit.shadow_count) == ((), 1)
