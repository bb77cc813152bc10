"""Answers that leave while they are written: what leaves when, what stops it, and how it goes on or ends."""

import asyncio

import pytest
from msgspec import structs

from serving.fakes import FakeCheck, FakeConversationStates, FakeGenerator, FakeReleases
from tests.topology.steps.pipeline_world import (
    BUNDLE,
    IDENTITY,
    Ended,
    candidate,
    event,
    finding,
    logged,
    record_of,
)
from tests.topology.streamed.stream_world import LINE, REFUSAL, Streamed, read, weighed
from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.errors import CheckFailed, Replaced, RetryLater
from topology.contract.events import Action
from topology.contract.labels import (
    CategoryId,
    Extent,
    Outcome,
    RequestLabels,
    SideEffect,
    VerdictKind,
    Vulnerability,
)
from topology.contract.names import DraftSource
from topology.decision.judge import REDACTION_MARK
from topology.decision.recompute import recompute
from topology.policy.overlays import STRICTEST
from topology.ports import CheckInput, OnText
from topology.streamed.answering import StreamBounds
from topology.streaming import holdback
from topology.streaming.segments import SegmentBounds

PLAIN = "One is here. Two is here. Three is here. Four is here."


def test_an_answer_leaves_by_segments_and_the_response_is_all_of_them() -> None:
    world = Streamed([PLAIN])
    ended = world.answer()
    assert world.segments[0] == "One is here. Two is here."
    assert "".join(world.segments) == ended.text == PLAIN
    assert ended.response.action is Action.PUBLISHED
    assert [is_last for _, _, is_last in world.releases.segments][-1]
    assert not ended.response.replaced
    assert sum(piece.length for piece in ended.audit.released) == len(PLAIN)


def test_the_whole_answer_is_judged_again_and_that_is_the_recorded_draft() -> None:
    world = Streamed([PLAIN])
    ended = world.answer()
    assert [(attempt.extent, attempt.draft.redacted) for attempt in ended.audit.attempts if attempt.draft] == [
        (Extent.WHOLE, f"<{len(PLAIN)} characters>")
    ]


def test_an_event_that_does_not_ask_is_answered_whole_and_the_same() -> None:
    world = Streamed([PLAIN])
    ended = world.answer(stream=False)
    assert not world.releases.is_opened
    assert (ended.text, ended.audit.released) == (PLAIN, ())


def test_without_a_way_out_an_event_that_asks_is_answered_whole() -> None:
    world = Streamed([PLAIN], is_streaming=False)
    ended = world.answer()
    assert (ended.text, ended.response.replaced, world.releases.is_opened) == (PLAIN, False, False)


def test_forbidden_detail_in_mid_answer_never_leaves_and_another_draft_goes_on_from_what_has_left() -> None:
    world = Streamed(["All is fine. Still fine. Now FAR it goes. And on.", "So much for that. It ends."])
    ended = world.answer()
    assert ended.text == "All is fine. Still fine. So much for that. It ends."
    assert ended.response.action is Action.SAFE_COMPLETED
    assert world.bench.released == ["", "All is fine. Still fine."]
    assert world.requests[1].continues
    assert world.bench.prompts[1][1], "the feedback says what to mend"
    stopped, whole = ended.audit.attempts
    assert (stopped.extent, stopped.verdict.verdict) == (Extent.PREFIX, VerdictKind.SAFE_COMPLETE)
    assert (whole.extent, whole.verdict.verdict) == (Extent.WHOLE, VerdictKind.PUBLISH)
    assert [piece.attempt for piece in ended.audit.released] == [1, 2]


def test_a_request_is_closed_at_once_and_its_tokens_are_counted() -> None:
    answer = "All is fine. Still fine. Now FAR it goes. " + "And on. " * 40
    world = Streamed([answer, "So it ends."])
    ended = world.answer()
    assert world.generator.cancelled_count == 1
    assert 0 < ended.audit.attempts[0].usage.output_tokens < len(answer) / 2
    assert ended.audit.usage.output_tokens > ended.audit.attempts[0].usage.output_tokens


def test_after_the_last_draft_the_policys_own_words_end_the_answer() -> None:
    world = Streamed(["All is fine. Still fine. Now FAR it goes."] + ["More FAR. Stop."] * 2)
    ended = world.answer()
    assert len(world.requests) == 3
    assert ended.text.startswith("All is fine. Still fine.\n\nI can't go into that part.")
    assert ended.response.action is Action.SAFE_COMPLETED
    assert [piece.source for piece in ended.audit.released] == [DraftSource.GENERATOR, DraftSource.TEMPLATE]


@pytest.mark.parametrize(("word", "action", "asked"), [("WORST", Action.REFUSED, 1), ("ONE", Action.PUBLISHED, 2)])
def test_what_no_draft_may_mend_ends_with_the_policys_words_and_the_rest_is_drafted_again(
    word: str, action: Action, asked: int
) -> None:
    world = Streamed([f"All is fine. Still fine. Now {word} comes. It ends.", "So it ends."])
    ended = world.answer()
    assert (ended.response.action, len(world.requests)) == (action, asked)
    assert ended.text.startswith("All is fine. Still fine.")


def test_unfairness_twice_ends_with_a_person_and_the_policys_words() -> None:
    world = Streamed(["All is fine. Still fine. UNFAIR it is. On."] + ["UNFAIR it is. On."] * 2)
    ended = world.answer()
    assert ended.response.action is Action.WITHHELD
    assert ended.text.startswith("All is fine. Still fine.\n\nI can't give you an answer")
    assert ended.review


def test_a_fault_in_the_opening_leaves_nothing_and_the_draft_is_made_anew() -> None:
    world = Streamed(["Now FAR it goes. And on. And on.", PLAIN])
    ended = world.answer()
    assert ended.text == PLAIN
    assert world.bench.released == ["", ""]


def test_a_bare_refusal_never_leaves_while_another_draft_may_follow() -> None:
    world = Streamed([f"{REFUSAL} {REFUSAL} {REFUSAL} {REFUSAL}", PLAIN])
    ended = world.answer()
    assert ended.text == PLAIN
    assert not any(REFUSAL in text for text in world.segments)


def test_a_number_that_a_bound_cuts_is_held_from_its_beginning_and_redacted_before_it_leaves() -> None:
    text = "Here are many words that lead on to it, the number 0301 23 45 67 of him and more. So it ends."
    world = Streamed([text])
    ended = world.answer()
    assert ended.response.action is Action.REDACTED
    assert ended.text == text.replace("0301 23 45 67", REDACTION_MARK)
    assert not any("0301" in part for part in world.segments)
    assert DraftSource.REDACTION in {piece.source for piece in ended.audit.released}


class SlowModel(FakeGenerator):
    """Each piece of its answer is judged before the next one comes."""

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        async def slowly(piece: str) -> None:
            assert on_text is not None
            await on_text(piece)
            for _ in range(50):
                await asyncio.sleep(0)

        return await super().generate(request, slowly)


@pytest.mark.parametrize("is_held", [True, False])
def test_a_number_that_time_cuts_never_begins_to_leave(is_held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_held:
        monkeypatch.setattr(holdback, "number_start", len)
    text = "All is fine. Still fine. It is 030 12 34 56 78 of him. So it ends."
    generator = SlowModel(lambda _: text)
    at_once = StreamBounds(segments=SegmentBounds(age_max_ms=-1.0))
    world = Streamed([], generator=generator, streams=at_once, revisions_max=0)
    world.answer()
    assert len(world.segments) > 3
    assert any("030" in segment for segment in world.segments) is not is_held


@pytest.mark.parametrize("error", [TimeoutError(), CheckFailed(Outcome.UNREACHABLE, "bias", "away"), ValueError("bug")])
def test_a_check_that_fails_or_is_late_releases_nothing_more(error: Exception) -> None:
    bias = FakeCheck("bias", weighed, faults=[None, error])
    world = Streamed([PLAIN], checks=[FakeCheck("classification", read), bias, FakeCheck("logging", logged)])
    ended = world.answer()
    assert "".join(world.segments) == "One is here. Two is here." or world.segments == []
    assert ended.text.startswith("".join(world.segments))
    assert ended.response.action is Action.WITHHELD
    assert ended.review


def test_an_obligation_that_is_missing_at_the_end_is_added_and_nothing_is_taken_back() -> None:
    labels = RequestLabels(labeler=IDENTITY, vulnerability=Vulnerability.AT_RISK)
    world = Streamed([PLAIN], labels=labels)
    ended = world.answer()
    assert ended.text.startswith(f"{PLAIN}\n\n")
    assert LINE in ended.text
    assert ended.text == "".join(world.segments)
    assert [piece.source for piece in ended.audit.released] == [DraftSource.GENERATOR, DraftSource.TEMPLATE]
    assert [attempt.verdict.verdict for attempt in ended.audit.attempts][-1] is VerdictKind.PUBLISH
    assert len(world.requests) == 1


def test_a_fault_that_only_the_whole_answer_shows_is_closed_recorded_and_alarms() -> None:
    def late(given: CheckInput) -> CheckReport:
        is_whole = given.draft.text == PLAIN
        return read(structs.replace(given, draft=structs.replace(given.draft, text="FAR")) if is_whole else given)

    world = Streamed([PLAIN], classification=late, pieces=lambda text: [f"{text}\n", ""][:1])
    held = Streamed([PLAIN, "So it ends."], classification=late)
    assert held.answer().text == "One is here. Two is here. Three is here. So it ends.", "what was held is drafted anew"
    assert not world.answer().audit.released_over

    def known(given: CheckInput) -> CheckReport:
        is_judged_before = given.draft.text in seen
        seen.append(given.draft.text)
        return read(
            structs.replace(given, draft=structs.replace(given.draft, text="FAR")) if is_judged_before else given
        )

    seen: list[str] = []
    lined = Streamed(["One is here.\nTwo is here.\nThree is here.\n"], classification=known)
    ended = lined.answer()
    assert ended.text.startswith("One is here.\nTwo is here.\nThree is here.\n\n")
    assert ended.audit.released_over
    assert {SideEffect.ALARM, SideEffect.HUMAN_REVIEW} <= set(ended.audit.side_effects)


def test_a_crash_later_the_answer_goes_on_from_what_was_released() -> None:
    world = Streamed(["And so it ends. All of it."], releases=FakeReleases("Before it was so."))
    ended = world.answer()
    assert ended.text == "Before it was so. And so it ends. All of it."
    assert ended.audit.released[0].attempt == 0
    assert ended.audit.attempts[0].extent is Extent.PREFIX


def test_a_crash_after_the_models_last_segment_asks_no_model_again() -> None:
    world = Streamed([], releases=FakeReleases(PLAIN, has_last=True))
    ended = world.answer()
    assert (ended.text, ended.response.action) == (PLAIN, Action.PUBLISHED)
    assert world.requests == []


def test_a_prefix_that_the_policy_would_now_hold_stays_is_closed_and_alarms() -> None:
    world = Streamed([], releases=FakeReleases("It was FAR before."))
    ended = world.answer()
    assert ended.text.startswith("It was FAR before.\n\n")
    assert ended.audit.released_over
    assert SideEffect.ALARM in ended.audit.side_effects
    assert world.requests == []


def test_a_run_that_is_replaced_releases_nothing_and_says_so() -> None:
    world = Streamed([PLAIN], releases=FakeReleases(None))
    ended = world.answer()
    assert (ended.text, ended.response.replaced) == (PLAIN, True)
    assert world.segments == []


def test_a_run_that_is_replaced_in_mid_answer_releases_nothing_more_and_says_so() -> None:
    async def replaced(_text: str) -> None:
        raise Replaced("a higher token")

    world = Streamed([PLAIN], releases=FakeReleases(on_release=replaced))
    ended = world.answer()
    assert len(world.segments) == 1
    assert (ended.text, ended.response.replaced) == (PLAIN, True)


def test_text_that_another_owner_released_meanwhile_is_read_back_before_the_response() -> None:
    world = Streamed([PLAIN], releases=FakeReleases(others="Their words. "))
    assert world.answer().response.replaced


def test_a_deadline_in_mid_answer_leaves_what_has_left_and_closes_it() -> None:
    async def stuck(_text: str) -> None:
        await asyncio.sleep(60)

    world = Streamed([PLAIN], releases=FakeReleases(on_release=stuck), deadline_s=0.3)
    ended = world.answer()
    assert ended.text.startswith("One is here. Two is here.\n\n"), "a segment that was sent may have arrived"
    assert ended.response.action is Action.WITHHELD


def test_no_response_precedes_the_read_back_unless_it_says_that_it_replaces() -> None:
    async def never() -> None:
        await asyncio.sleep(60)

    bounds = StreamBounds(open_timeout_s=0.5)
    world = Streamed([PLAIN], releases=FakeReleases(on_open=never), deadline_s=0.2, streams=bounds)
    ended = world.answer()
    assert (ended.response.replaced, ended.response.action) == (True, Action.WITHHELD)


def test_a_crisis_is_answered_whole() -> None:
    labels = RequestLabels(labeler=IDENTITY, vulnerability=Vulnerability.ACUTE_SELF_HARM)
    world = Streamed([f"{PLAIN} {LINE}"], labels=labels)
    ended = world.answer()
    assert world.segments == []
    assert ended.text == f"{PLAIN} {LINE}"


def test_a_candidate_is_judged_whole() -> None:
    world = Streamed([])
    ended = world.answer(candidate=candidate(PLAIN))
    assert (world.segments, ended.text) == ([], PLAIN)


class BreakingOff(FakeGenerator):
    """Its first answer stops in the middle, once what came of it was judged."""

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        draft = await super().generate(request, on_text)
        if len(self.calls) > 1:
            return draft
        for _ in range(50):
            await asyncio.sleep(0)
        raise RetryLater(Outcome.CRASHED, "generator", "gone")


def test_a_model_that_breaks_off_goes_on_from_what_has_left() -> None:
    script = iter(["One is here. Two is here. Three is", "Three was there."])
    world = Streamed([], generator=BreakingOff(lambda _: next(script), pieces=list))
    assert world.answer().text == "One is here. Two is here. Three was there."


def test_what_has_left_is_remembered_by_the_conversation_however_the_event_ends() -> None:
    def found(given: CheckInput) -> CheckReport:
        report = read(given)
        return structs.replace(report, findings=(*report.findings, finding("cyber.offense", 1, 1)))

    states = FakeConversationStates()
    world = Streamed(["All is fine. Still fine. Now WORST comes. On."], classification=found, states=states)
    result = asyncio.run(world.bench.pipeline.process(record_of(event(stream=True))))
    states.finished(result)
    assert Ended(result).response.action is Action.REFUSED
    assert states.kept["c1"].categories[CategoryId("cyber.offense")].released == 1


def test_a_second_copy_and_a_quarantined_event_are_not_read_back_and_say_so() -> None:
    states = FakeConversationStates()
    world = Streamed([PLAIN], states=states)
    states.finished(asyncio.run(world.bench.pipeline.process(record_of(event(stream=True)))))
    copy = Ended(asyncio.run(world.bench.pipeline.process(structs.replace(record_of(event(stream=True)), offset=18))))
    assert (copy.response.duplicate_of != "", copy.response.replaced) == (True, True)
    assert Ended(world.bench.pipeline.quarantine(record_of(event(stream=True)), 3, decodes=True)).response.replaced
    assert not Ended(world.bench.pipeline.quarantine(record_of(event()), 3, decodes=True)).response.replaced


def test_the_recorded_verdicts_are_recomputed_from_the_audit_record() -> None:
    answers = ["All is fine. Still fine. Now FAR it goes. And on.", "So much 0301 23 45 67 for that. It ends."]
    record = Streamed(answers).answer().audit
    again = recompute(record, BUNDLE, STRICTEST)
    assert again.verdicts == tuple(attempt.verdict for attempt in record.attempts)
    assert again.action is record.action
