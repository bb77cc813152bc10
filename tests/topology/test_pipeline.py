"""Every record ends as the contract says: what no check cleared never leaves, and every end is audited."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from serving.clock import SystemClock
from serving.fakes import FakeCheck, FakeGenerator, FakeGrantVerifier, FakeLabeler, clean_report
from topology.case import Case
from topology.codec import RecordLimits, encode
from topology.drafting import Budget, Drafting
from topology.errors import CheckFailed, DeadLetterReason, RetryLater
from topology.events import (
    Action,
    AuditedResponse,
    AuditRecord,
    Candidate,
    ConversationEvent,
    LoggedText,
    Message,
    ReviewItem,
    Role,
    TextPart,
    parts_text,
)
from topology.headers import last_header
from topology.instruments import Instruments
from topology.labels import (
    CategoryId,
    Intent,
    LabelerIdentity,
    Outcome,
    OutputFinding,
    Plan,
    RequestFinding,
    RequestLabels,
    Span,
    VerdictKind,
)
from topology.metrics import Metric
from topology.names import Header, Topic
from topology.pipeline import Bounds, Pipeline, Policies, Routes
from topology.policy import packaged_bundle
from topology.ports import Check, CheckInput, CheckReport, GenerationRequest, OutRecord, Record, Result
from topology.tracing import Tracing

BUNDLE = packaged_bundle()
IDENTITY = LabelerIdentity(model="test", version="1")
REFUSED_HELP = "I cannot help with that part, but here is what is safe to know."


def logged(given: CheckInput) -> CheckReport:
    def entry(text: str) -> LoggedText:
        return LoggedText(redacted=f"<{len(text)} characters>", spans=(), digest="hmac")

    return CheckReport(check="logging", version="1", request_log=entry("request"), draft_log=entry(given.draft.text))


def finds(*findings: OutputFinding, once: bool = False, **flags: Any) -> Callable[[CheckInput], CheckReport]:
    """A classification that reports `findings`, only of the first draft where `once`."""

    def report(given: CheckInput) -> CheckReport:
        if once and given.attempt > 1:
            return clean_report("classification")(given)
        return CheckReport(check="classification", version="1", findings=findings, **flags)

    return report


def finding(category: str, harm: int, detail: int, **more: Any) -> OutputFinding:
    return OutputFinding(category=CategoryId(category), harm=harm, detail_lo=detail, detail_hi=detail, **more)


def labelled(category: str, harm: int, intent: Intent = Intent.DUAL_USE, asked: int = 3) -> RequestLabels:
    asked_for = RequestFinding(category=CategoryId(category), harm=harm, intent=intent, asked_detail=asked)
    return RequestLabels(labeler=IDENTITY, findings=(asked_for,))


class Bench:
    """A pipeline on fakes, and what came out of it."""

    def __init__(
        self,
        *,
        generator: FakeGenerator | None = None,
        labels: RequestLabels | None = None,
        labeler: FakeLabeler | None = None,
        checks: Sequence[Check] | None = None,
        classification: Callable[[CheckInput], CheckReport] | None = None,
        candidate_regenerate: bool = False,
        revisions_max: int = 2,
    ) -> None:
        self.generator = generator or FakeGenerator(lambda _: "A plain answer.")
        self.metrics = Instruments.none()
        self.prompts: list[tuple[Plan, str]] = []
        found = labels or RequestLabels(labeler=IDENTITY)
        budget = Budget(
            revisions_max=revisions_max,
            candidate_regenerate=candidate_regenerate,
            checks_timeout_s=0.2,
            backoff_initial_s=0.001,
            backoff_max_s=0.01,
        )
        drafting = Drafting(
            generator=self.generator,
            checks=checks
            or (FakeCheck("classification", classification), FakeCheck("bias"), FakeCheck("logging", logged)),
            compile_prompt=self._compile,
            budget=budget,
            clock=SystemClock(),
            metrics=self.metrics,
            jitter=lambda: 0.5,
        )
        self.pipeline = Pipeline(
            policies=Policies(BUNDLE),
            labeler=labeler or FakeLabeler(lambda _: found),
            drafting=drafting,
            grants=FakeGrantVerifier(),
            digest=lambda text: f"digest of {len(text)}",
            routes=Routes(),
            bounds=Bounds(deadline_default_s=5, assess_timeout_s=0.2, records=RecordLimits()),
            tracing=Tracing.none(),
            metrics=self.metrics,
            clock=SystemClock(),
        )

    def _compile(self, case: Case, plan: Plan, feedback: str) -> tuple[Message, ...]:
        self.prompts.append((plan, feedback))
        return case.event.messages

    def answer(self, **changes: Any) -> "Ended":
        return Ended(self.process(record_of(event(**changes))))

    def process(self, record: Record) -> Result:
        return asyncio.run(self.pipeline.process(record))


class Ended:
    """The records that one event ended as, decoded."""

    def __init__(self, result: Result) -> None:
        by_topic: dict[str, list[OutRecord]] = {}
        for record in result.records:
            by_topic.setdefault(record.topic, []).append(record)
        (response,), (audit,) = by_topic[Topic.AUDITED], by_topic[Topic.AUDIT]
        self.response = msgspec.json.decode(response.value, type=AuditedResponse)
        self.audit = msgspec.json.decode(audit.value, type=AuditRecord)
        self.review = [msgspec.json.decode(one.value, type=ReviewItem) for one in by_topic.get(Topic.REVIEW, [])]
        self.letters = by_topic.get(Topic.DEAD_LETTERS, [])

    @property
    def text(self) -> str:
        return parts_text(self.response.parts)

    @property
    def verdicts(self) -> list[VerdictKind]:
        return [attempt.verdict.verdict for attempt in self.audit.attempts]


def event(**changes: Any) -> ConversationEvent:
    fields: dict[str, Any] = {
        "event_id": "e1",
        "conversation_id": "c1",
        "tenant_id": "t1",
        "messages": (Message(role=Role.USER, parts=(TextPart(text="a question"),)),),
    }
    return ConversationEvent(**{**fields, **changes})


def record_of(sent: ConversationEvent) -> Record:
    return Record(
        topic=Topic.EVENTS,
        partition=3,
        offset=17,
        timestamp_ms=1,
        key=sent.conversation_id.encode(),
        value=encode(sent),
    )


def candidate(text: str) -> Candidate:
    return Candidate(parts=(TextPart(text=text),), model="upstream")


def test_a_clean_draft_is_published_with_its_audit_record() -> None:
    ended = Bench().answer()
    assert ended.response.action is Action.PUBLISHED
    assert ended.text == "A plain answer."
    assert ended.response.audit_id == ended.audit.audit_id
    assert ended.response.policy_ref == ended.audit.policy_ref == BUNDLE.ref
    assert (ended.audit.position.partition, ended.audit.position.offset) == (3, 17)
    assert ended.verdicts == [VerdictKind.PUBLISH]
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
    assert ended.response.reason_codes == ("deadline",)
    assert last_header(ended.letters[0].headers, Header.REASON) == DeadLetterReason.PROCESSING_FAILED.value


def test_an_event_whose_deadline_has_passed_is_withheld() -> None:
    ended = Bench().answer(deadline_ms=1)
    assert ended.response.reason_codes == ("deadline",)
    assert ended.audit.request is not None


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
