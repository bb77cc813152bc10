"""An audit record suffices: plan, verdicts and action come out of it again, bit for bit, whatever happened."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.fakes import FakeCheck, FakeConversationStates, FakeGenerator, FakeLabeler
from tests.effort import examples
from tests.topology.decision import policy_world
from tests.topology.steps.pipeline_world import Bench, candidate, finding, finds, labelled, logged
from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.events import Action, AuditRecord, UserContext
from topology.contract.labels import CategoryId, Outcome, OutputLabels, RequestLabels, Span, VerdictKind
from topology.decision.recompute import recompute
from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import STRICTEST
from topology.ports import CheckInput


def reporting(drafts: list[OutputLabels]) -> Callable[[CheckInput], CheckReport]:
    """A classification that says of each draft in turn what it is told; the last holds for all that follow."""

    def report(asked: CheckInput) -> CheckReport:
        said = drafts[min(asked.attempt, len(drafts)) - 1]
        return CheckReport(
            check="classification",
            version="1",
            findings=said.findings,
            obligations_present=said.obligations_present,
            obeyed_injection=said.obeyed_injection,
            privileged_leak=said.privileged_leak,
            leak_separable=said.leak_separable,
            leak_spans=said.leak_spans,
            unfair=said.unfair,
            soft_violations=said.soft_violations,
            bare_refusal=said.is_bare_refusal,
        )

    return report


def same(record: AuditRecord) -> None:
    found = recompute(record, policy_world.bundle(), STRICTEST)
    assert found.plan == record.plan
    assert found.verdicts == tuple(attempt.verdict for attempt in record.attempts)
    assert (found.action, found.judged_count) == (record.action, len(record.attempts))


@examples(150)
@given(
    labels=policy_world.REQUESTS,
    drafts=st.lists(policy_world.OUTPUTS, min_size=1, max_size=5),
    user=policy_world.USERS,
    revisions_max=st.integers(0, 3),
    bias_fault=st.sampled_from([None, None, CheckFailed(Outcome.TIMEOUT, "bias", "")]),
    is_candidate=st.booleans(),
)
def test_what_was_decided_is_computed_again_from_the_record(
    labels: RequestLabels,
    drafts: list[OutputLabels],
    user: UserContext,
    revisions_max: int,
    bias_fault: CheckFailed | None,
    is_candidate: bool,
) -> None:
    checks = [
        FakeCheck("classification", reporting(drafts)),
        FakeCheck("bias", faults=[None, bias_fault]),
        FakeCheck("logging", logged),
    ]
    bench = Bench(labels=labels, checks=checks, revisions_max=revisions_max, candidate_regenerate=True)
    same(bench.answer(user=user, candidate=candidate("words " * 20) if is_candidate else None).audit)


@settings(max_examples=80, deadline=None)
@given(turns=st.lists(st.tuples(policy_world.REQUESTS, policy_world.OUTPUTS), min_size=2, max_size=4))
def test_what_a_conversation_was_given_before_is_in_the_record(turns: list[tuple[RequestLabels, OutputLabels]]) -> None:
    requests = {f"e{index}": request for index, (request, _) in enumerate(turns)}
    drafts = {f"e{index}": draft for index, (_, draft) in enumerate(turns)}
    bench = Bench(
        labeler=FakeLabeler(lambda event: requests[event.event_id]),
        classification=lambda asked: reporting([drafts[asked.event.event_id]])(asked),
        states=FakeConversationStates(),
    )
    for event_id in requests:
        same(bench.answer(event_id=event_id).audit)


def test_a_failure_that_is_no_verdict_stands() -> None:
    generator = FakeGenerator(faults=[CheckFailed(Outcome.REFUSED, "generator", "")])
    record = Bench(generator=generator).answer().audit
    assert record.action is Action.WITHHELD
    same(record)


def test_a_category_that_nobody_knows_is_withheld_again() -> None:
    unknown = labelled("no.such.category", 2)
    record = Bench(labels=unknown).answer().audit
    assert (record.plan, record.action) == (None, Action.WITHHELD)
    same(record)


def changed(**of_policy: object) -> PolicyBundle:
    return msgspec.structs.replace(policy_world.bundle(), **of_policy)


def with_ceiling(category: str, level: int) -> PolicyBundle:
    """The policy with one ceiling for all of a category."""
    categories = dict(policy_world.bundle().categories)
    name = CategoryId(category)
    categories[name] = msgspec.structs.replace(categories[name], fixed=(level, level, level))
    return changed(categories=categories)


def asked_of_fraud(detail: int) -> AuditRecord:
    """An event of dual use whose first draft has that much detail; a second one has none."""
    said = finds(finding("wrongdoing.nonviolent", 2, detail), once=True)
    return Bench(labels=labelled("wrongdoing.nonviolent", 2), classification=said).answer().audit


@pytest.mark.parametrize(
    ("detail", "level", "action"),
    [
        (1, 1, Action.PUBLISHED),
        (1, 0, None),  # one more draft, which nobody made
        (3, 3, Action.PUBLISHED),
        (3, 0, Action.SAFE_COMPLETED),  # by the second draft, which is there
    ],
)
def test_another_policy_judges_the_drafts_that_are_there(detail: int, level: int, action: Action | None) -> None:
    found = recompute(asked_of_fraud(detail), with_ceiling("wrongdoing.nonviolent", level), STRICTEST)
    assert found.action is action
    assert found.plan is not None
    assert found.plan.ceilings == {"wrongdoing.nonviolent": level}


def test_a_redaction_that_nobody_made_is_not_foreseen() -> None:
    spans = (Span(start=0, end=5),)
    private = finding("privacy.private", 2, 2, separable=True, spans=spans)
    record = Bench(labels=labelled("privacy.private", 2), classification=finds(private, once=True)).answer().audit
    assert [attempt.verdict.verdict for attempt in record.attempts] == [VerdictKind.PUBLISH]
    found = recompute(record, with_ceiling("privacy.private", 0), STRICTEST)
    assert (found.verdicts[0].verdict, found.action) == (VerdictKind.REDACT, None)


def test_a_policy_that_knows_a_category_the_old_one_did_not_cannot_tell() -> None:
    record = Bench(labels=labelled("new.kind", 2)).answer().audit
    categories = policy_world.bundle().categories
    known = {**categories, CategoryId("new.kind"): categories[CategoryId("gore")]}
    found = recompute(record, changed(categories=known), STRICTEST)
    assert (found.plan is not None, found.action) == (True, None)
    assert recompute(asked_of_fraud(1), changed(categories={}), STRICTEST).action is Action.WITHHELD
