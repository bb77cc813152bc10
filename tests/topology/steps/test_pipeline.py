"""Every record ends as the contract says: what no check cleared never leaves, and every end is audited."""

import asyncio

import msgspec
import pytest
from msgspec import structs

from serving.fakes import FakeCheck, FakeGenerator, FakeLabeler
from tests.topology.steps.pipeline_world import (
    BUNDLE,
    PROMPT_HASH,
    Bench,
    Ended,
    candidate,
    event,
    finding,
    finds,
    labelled,
    logged,
    record_of,
)
from topology.contract.drafts import GenerationRequest
from topology.contract.errors import CheckFailed, DeadLetterReason, RetryLater, TooLate
from topology.contract.events import Action, Candidate, ImagePart, Message, Role, TextPart
from topology.contract.headers import last_header
from topology.contract.labels import CategoryId, Intent, Outcome, Span, VerdictKind
from topology.contract.names import Header, Topic
from topology.contract.records import Receipt
from topology.policy.bundle import Aspect
from topology.policy.in_force import Policies
from topology.telemetry.metrics import Metric
from workers.process.clock import SystemClock


def test_a_clean_draft_is_published_with_its_audit_record() -> None:
    bench = Bench()
    ended = bench.answer()
    assert ended.response.action is Action.PUBLISHED
    assert ended.text == "A plain answer."
    assert ended.response.audit_id == ended.audit.audit_id
    assert ended.response.policy_ref == ended.audit.policy_ref == BUNDLE.ref
    assert (ended.audit.position.partition, ended.audit.position.offset) == (3, 17)
    assert ended.verdicts == [VerdictKind.PUBLISH]
    assert bench.metrics.value(Metric.UNSCREENED_PUBLISHED) == 0
    assert not ended.letters
    assert not ended.review


def test_a_draft_above_its_ceiling_is_drafted_again_under_a_tighter_plan() -> None:
    over = finding("weapons.conventional", 3, 3)
    bench = Bench(labels=labelled("weapons.conventional", 3), classification=finds(over, once=True))
    ended = bench.answer()
    assert ended.response.action is Action.SAFE_COMPLETED
    assert ended.verdicts == [VerdictKind.SAFE_COMPLETE, VerdictKind.PUBLISH]
    planned, tightened = (plan.ceilings[CategoryId("weapons.conventional")] for plan, _ in bench.prompts)
    assert tightened == max(0, planned - 1)
    assert bench.prompts[1][1]


def test_the_budget_ends_in_the_policys_own_words() -> None:
    over = finding("regulated_advice.medical", 2, 4)
    bench = Bench(labels=labelled("regulated_advice.medical", 2), classification=finds(over))
    ended = bench.answer()
    assert len(bench.generator.calls) == 3
    assert ended.response.action is Action.SAFE_COMPLETED
    assert ended.text != "A plain answer."
    assert VerdictKind.PUBLISH not in ended.verdicts


def test_the_worst_category_is_refused_without_a_further_draft() -> None:
    over = finding("cbrn.weaponization", 4, 3)
    bench = Bench(labels=labelled("cbrn.weaponization", 4, Intent.MALICIOUS), classification=finds(over))
    ended = bench.answer()
    assert len(bench.generator.calls) == 1
    assert ended.response.action is Action.REFUSED
    assert ended.review


def test_separable_personal_data_is_cut_out_and_the_rest_judged_again() -> None:
    text = "Write to the desk. Private: 555-0100."
    leak = finding("privacy.private", 3, 3, separable=True, spans=(Span(start=28, end=36),))
    bench = Bench(
        generator=FakeGenerator(lambda _: text),
        labels=labelled("privacy.private", 3),
        classification=finds(leak, once=True),
    )
    ended = bench.answer()
    assert ended.response.action is Action.REDACTED
    assert "555-0100" not in ended.text
    assert ended.text.startswith("Write to the desk.")
    assert [attempt.source for attempt in ended.audit.attempts] == ["generator", "redaction"]


def test_a_redaction_that_does_not_help_is_not_tried_twice() -> None:
    leak = finding("privacy.private", 3, 3, separable=True, spans=(Span(start=0, end=3),))
    ended = Bench(labels=labelled("privacy.private", 3), classification=finds(leak)).answer()
    assert ended.response.action is Action.SAFE_COMPLETED
    assert ended.text != "A plain answer."


def test_the_audit_names_who_labelled_the_request_and_in_which_version() -> None:
    (run,) = Bench().answer().audit.guards
    assert (run.guard, run.version, run.outcome) == ("assess", "1", Outcome.OK)


def test_the_audit_names_the_words_that_a_generator_was_given_and_none_where_it_was_not_asked() -> None:
    assert Bench().answer().audit.prompt_hashes == {"generator": PROMPT_HASH}
    assert Bench().answer(candidate=candidate("Made upstream.")).audit.prompt_hashes == {}


def test_a_candidate_is_judged_instead_of_generating() -> None:
    bench = Bench()
    ended = bench.answer(candidate=candidate("Made upstream."))
    assert ended.text == "Made upstream."
    assert ended.audit.attempts[0].model == "upstream"
    assert not bench.generator.calls


def test_a_candidate_that_does_not_pass_becomes_the_policys_words() -> None:
    over = finding("regulated_advice.medical", 2, 4)
    bench = Bench(labels=labelled("regulated_advice.medical", 2), classification=finds(over))
    ended = bench.answer(candidate=candidate("Take forty of these."))
    assert ended.response.action is Action.SAFE_COMPLETED
    assert "forty" not in ended.text
    assert not bench.generator.calls


def test_a_candidate_may_be_regenerated_by_setting() -> None:
    over = finding("weapons.conventional", 3, 3)
    bench = Bench(
        labels=labelled("weapons.conventional", 3),
        classification=finds(over, once=True),
        candidate_regenerate=True,
    )
    ended = bench.answer(candidate=candidate("Step one."))
    assert len(bench.generator.calls) == 1
    assert ended.text == "A plain answer."
    assert ended.response.action is Action.SAFE_COMPLETED


FAULTY = {
    "raises": (FakeCheck("bias", faults=[ZeroDivisionError()] * 9), Outcome.CRASHED),
    "says it cannot tell": (
        FakeCheck("bias", faults=[CheckFailed(Outcome.UNREACHABLE, "bias", "down")] * 9),
        Outcome.UNREACHABLE,
    ),
    "hangs": (FakeCheck("bias", delay_s=30, clock=SystemClock()), Outcome.TIMEOUT),
}


@pytest.mark.parametrize(("check", "outcome"), FAULTY.values(), ids=FAULTY.keys())
def test_a_check_that_could_not_tell_withholds_and_is_audited(check: FakeCheck, outcome: Outcome) -> None:
    bench = Bench(checks=(FakeCheck("classification"), check, FakeCheck("logging", logged)))
    ended = bench.answer()
    assert ended.response.action is Action.WITHHELD
    assert "A plain answer." not in ended.text
    runs = {run.guard: run.outcome for run in ended.audit.attempts[-1].labels.guards}
    assert runs["bias"] is outcome
    assert ended.review
    assert bench.metrics.value(Metric.FAIL_CLOSED, stage="bias", reason=outcome.value) == 1


def test_an_answer_that_a_check_could_not_judge_is_counted_where_the_verdict_table_lets_it_out() -> None:
    rows = {row.id: row for row in BUNDLE.rules}
    rows.update(
        {
            row.id: structs.replace(row, verdict=VerdictKind.PUBLISH)
            for row in BUNDLE.rules
            if row.aspect is Aspect.GUARD
        }
    )
    lax = structs.replace(BUNDLE, rules=tuple(rows.values()))
    broken = FakeCheck("bias", faults=[ZeroDivisionError()] * 9)
    checks = (FakeCheck("classification"), broken, FakeCheck("logging", logged))
    bench = Bench(checks=checks, policies=Policies(lax))
    assert bench.answer().response.action is Action.PUBLISHED
    assert bench.metrics.value(Metric.UNSCREENED_PUBLISHED) == 1


def test_a_draft_that_could_not_be_logged_is_withheld() -> None:
    broken = FakeCheck("logging", faults=[ZeroDivisionError()] * 9)
    ended = Bench(checks=(FakeCheck("classification"), FakeCheck("bias"), broken)).answer()
    assert ended.response.action is Action.WITHHELD
    assert ended.audit.request is None


def test_a_request_that_could_not_be_assessed_is_withheld_without_a_draft() -> None:
    bench = Bench(labeler=FakeLabeler(faults=[ZeroDivisionError("user text")] * 9))
    ended = bench.answer()
    assert ended.response.action is Action.WITHHELD
    assert ended.response.reason_codes == ("assess_crashed",)
    assert ended.audit.labels is None
    assert ended.audit.request is not None
    assert ended.review
    assert not bench.generator.calls


def test_labels_of_an_unknown_category_withhold() -> None:
    ended = Bench(labels=labelled("no.such.category", 2)).answer()
    assert ended.response.action is Action.WITHHELD
    assert ended.review


def test_a_generator_that_is_down_is_waited_for() -> None:
    down = RetryLater(Outcome.UNREACHABLE, "generator", "refused")
    bench = Bench(generator=FakeGenerator(lambda _: "At last.", faults=[down, down, down, None]))
    ended = bench.answer()
    assert ended.text == "At last."
    assert bench.metrics.value(Metric.RETRIES, reason="unreachable") == 3


def test_only_the_deadline_turns_a_generator_that_is_down_into_an_answer() -> None:
    clock = SystemClock()
    bench = Bench(generator=FakeGenerator(faults=(RetryLater(Outcome.UNREACHABLE, "g", "x") for _ in range(10**6))))
    ended = bench.answer(deadline_ms=clock.now_ms() + 150)
    assert ended.response.action is Action.WITHHELD
    assert ended.response.reason_codes == ("deadline", "g_unreachable")
    assert last_header(ended.letters[0].headers, Header.REASON) == DeadLetterReason.PROCESSING_FAILED.value


@pytest.mark.parametrize("is_labelled", [False, True])
def test_an_event_that_waited_for_its_turn_too_long_is_withheld_and_may_be_sent_again(*, is_labelled: bool) -> None:
    fault = None if is_labelled else TooLate("assess")
    labeler = FakeLabeler(lambda _: labelled("regulated_advice.medical", 1), faults=[fault])
    bench = Bench(labeler=labeler, checks=[FakeCheck("classification"), FakeCheck("bias", faults=[TooLate("bias")])])
    ended = bench.answer(candidate=candidate("A."))
    assert (ended.response.action, ended.response.reason_codes) == (Action.WITHHELD, ("overloaded",))
    assert bench.metrics.value(Metric.ACTIONS, action="withheld", reason="overloaded") == 1
    assert bench.metrics.value(Metric.FAIL_CLOSED, stage="bias", reason="overloaded") == 0, "no guard failed"
    assert len(ended.letters) == 1
    assert not ended.review


@pytest.mark.parametrize(("read_ms", "waited_s", "code"), [(1000, 0, ""), (1000, 9, "deadline"), (3000, 0, "deadline")])
def test_a_deadline_runs_on_the_monotonic_clock_from_the_receipt_by_the_records_time(
    read_ms: int, waited_s: float, code: str
) -> None:
    """The worker's wall clock, decades ahead of the record's, has no say."""
    sent = event(candidate=candidate("A."), deadline_ms=3000)
    receipt = Receipt(SystemClock().monotonic_s() - waited_s, read_ms)
    ended = Ended(Bench().process(structs.replace(record_of(sent), receipt=receipt)))
    assert ended.response.reason_codes[:1] == ((code,) if code else ended.response.reason_codes[:1])
    assert (ended.response.action is Action.WITHHELD) is bool(code)


def test_an_event_whose_deadline_has_passed_is_withheld() -> None:
    ended = Bench().answer(deadline_ms=1)
    assert ended.response.reason_codes == ("deadline",)
    assert ended.audit.request is not None


def test_a_deadline_before_the_records_own_time_is_no_overload() -> None:
    """A duration where a time is wanted, such as 30000, lies in 1970: who sent it must not look for a busy worker."""
    ended = Bench(labeler=FakeLabeler(faults=[TooLate("assess")])).answer(deadline_ms=1)
    assert ended.response.reason_codes == ("deadline",)
    assert "before the event was written" in str(ended.letters[0].headers)


def test_a_request_that_the_generator_refuses_for_good_is_withheld_and_a_dead_letter() -> None:
    refused = CheckFailed(Outcome.REFUSED, "generator", "400")
    ended = Bench(generator=FakeGenerator(faults=[refused])).answer()
    assert ended.response.reason_codes == ("generator_refused",)
    assert len(ended.letters) == 1


def test_a_bug_withholds_and_keeps_the_event_as_a_dead_letter() -> None:
    def broken(_: GenerationRequest) -> str:
        raise KeyError("user text")

    ended = Bench(generator=FakeGenerator(broken)).answer()
    assert ended.response.action is Action.WITHHELD
    assert last_header(ended.letters[0].headers, Header.DETAIL) == "KeyError"


def test_what_is_no_event_ends_as_one_dead_letter_and_nothing_else() -> None:
    record = msgspec.structs.replace(record_of(event()), value=b'{"event_id": ')
    bench = Bench()
    (letter,) = bench.process(record).records
    assert letter.topic == Topic.DEAD_LETTERS
    assert letter.value == b'{"event_id": '
    assert last_header(letter.headers, Header.REASON) == "malformed"
    assert last_header(letter.headers, Header.ORIGINAL_OFFSET) == "17"
    assert bench.metrics.value(Metric.DEAD_LETTERS, reason="malformed") == 1


@pytest.mark.parametrize("answer", [None, candidate("A cat.")])
def test_a_question_of_images_alone_is_withheld_unseen(answer: Candidate | None) -> None:
    bench, image = Bench(), ImagePart(reference="https://example.org/cat.png")
    asked = (Message(role=Role.USER, parts=(image, image)), Message(role=Role.ASSISTANT, parts=(TextPart(text="?"),)))
    ended = bench.answer(messages=asked, candidate=answer)
    assert (ended.response.action, ended.response.reason_codes) == (Action.WITHHELD, ("only_images",))
    assert (ended.review, ended.letters, bench.generator.calls) == ([], [], [])
    captioned = (Message(role=Role.USER, parts=(image, TextPart(text="What is this?"))),)
    assert bench.answer(messages=captioned).response.action is Action.PUBLISHED


def test_a_cancelled_event_ends_as_nothing() -> None:
    bench = Bench(generator=FakeGenerator(delay_s=30, clock=SystemClock()))

    async def cancel() -> None:
        task = asyncio.create_task(bench.pipeline.process(record_of(event())))
        for _ in range(100):
            await asyncio.sleep(0)
        assert bench.generator.calls
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert bench.generator.cancelled_count == 1
