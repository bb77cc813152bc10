"""Turns of one conversation through the pipeline: state in and out, second copies, and what a failure leaves."""

import pytest
from msgspec.structs import replace

from serving.fakes import FakeConversationStates, FakeGenerator, FakeLabeler, ManualClock
from tests.topology.steps.pipeline_world import (
    IDENTITY,
    Bench,
    Ended,
    candidate,
    event,
    finding,
    finds,
    labelled,
    record_of,
)
from topology.contract.codec import decode_state
from topology.contract.conversation import EMPTY
from topology.contract.errors import CheckFailed
from topology.contract.events import Action, ImagePart, Message, Role, TextPart
from topology.contract.headers import Wire, last_header
from topology.contract.labels import ANSWER, CategoryId, Intent, Leaning, Outcome, RequestLabels
from topology.contract.names import Header, OnBlocked, Topic
from topology.contract.records import Record, Result
from workers.commands.recovery.copies import put_back

WEAPONS = CategoryId("weapons.conventional")


def turn(number: int, **changes: object) -> Record:
    return replace(record_of(event(event_id=f"e{number}", **changes)), offset=number)


def ended(bench: Bench, record: Record) -> Ended:
    return Ended(bench.process(record))


def state_records(result: Result) -> list[str]:
    return [record.topic for record in result.records if record.topic == Topic.STATE]


def test_the_state_leaves_with_the_answer_on_the_events_own_partition() -> None:
    states = FakeConversationStates()
    bench = Bench(labels=labelled(WEAPONS, 3, Intent.MALICIOUS), states=states)
    result = bench.process(turn(1))
    (record,) = [one for one in result.records if one.topic == Topic.STATE]
    assert (record.key, record.partition) == (b"c1", result.partition)
    assert last_header(record.headers, Header.SCHEMA) == "conversation-state/1"
    audit = Ended(result).audit
    assert decode_state(record.value, Wire.JSON) == audit.state_after
    assert audit.state_before == EMPTY
    assert audit.state_after.intent_of(WEAPONS) is Intent.MALICIOUS
    following = ended(bench, turn(2)).audit
    assert following.state_before == audit.state_after
    assert following.state_after.turns == 2


def test_without_states_nothing_is_written_and_the_audit_says_so() -> None:
    result = Bench(labels=labelled(WEAPONS, 3, Intent.MALICIOUS)).process(turn(1))
    assert not state_records(result)
    assert Ended(result).audit.state_after == EMPTY


def test_a_second_copy_of_an_event_is_withheld_names_the_first_and_asks_nobody() -> None:
    bench = Bench(states=FakeConversationStates())
    first = ended(bench, turn(1))
    second_result = bench.process(replace(turn(1), offset=9))
    second = Ended(second_result)
    assert (first.response.action, first.response.duplicate_of) == (Action.PUBLISHED, "")
    assert (second.response.action, second.response.reason_codes) == (Action.WITHHELD, ("duplicate_event",))
    assert second.response.duplicate_of == second.audit.duplicate_of == first.response.audit_id
    assert second.response.audit_id != first.response.audit_id
    assert second.audit.state_before == second.audit.state_after == first.audit.state_after
    assert not state_records(second_result)
    assert not second.review
    assert not second.letters
    assert len(bench.generator.calls) == 1


def test_an_event_whose_result_was_too_large_is_answered_once_it_is_put_back() -> None:
    bench = Bench(states=FakeConversationStates())
    assert ended(bench, turn(1)).response.action is Action.PUBLISHED  # nobody sees it
    lost = bench.pipeline.give_up(turn(1), Topic.AUDIT.value, 9_000_000)
    (letter,) = lost.records
    buried = replace(turn(1), topic=letter.topic, headers=letter.headers)
    again = replace(turn(1), offset=9, headers=put_back(buried, turn(1).topic, turn(1).partition).headers)
    assert ended(bench, again).response.action is Action.PUBLISHED


def test_copies_are_known_in_their_conversation_and_tenant_alone_and_for_a_time() -> None:
    clock = ManualClock()
    bench = Bench(states=FakeConversationStates(), clock=clock)
    for changes in ({}, {"conversation_id": "c2"}, {"tenant_id": "t2"}):
        assert ended(bench, turn(1, **changes)).response.action is Action.PUBLISHED
    clock.advance(25 * 3600)
    assert ended(bench, replace(turn(1), offset=9)).response.action is Action.PUBLISHED


def test_a_replayed_copy_and_the_same_record_read_once_more_are_answered() -> None:
    bench = Bench(states=FakeConversationStates())
    marked = ((Header.REPLAYED_FROM.value, b"conversations.events:3:1"),)
    for record in (turn(1), turn(1), replace(turn(1), offset=9, headers=marked)):
        assert ended(bench, record).response.action is Action.PUBLISHED


def test_an_event_that_failed_is_not_remembered_and_is_answered_when_it_comes_again() -> None:
    labeler = FakeLabeler(faults=[CheckFailed(Outcome.UNPARSABLE, "labeler", "once")])
    bench = Bench(states=FakeConversationStates(), labeler=labeler)
    failed = ended(bench, turn(1))
    assert failed.response.action is Action.WITHHELD
    assert failed.audit.state_after == EMPTY
    assert ended(bench, replace(turn(1), offset=9)).response.action is Action.PUBLISHED


def test_a_model_that_refuses_leaves_what_the_request_showed_but_not_its_event() -> None:
    generator = FakeGenerator(faults=[CheckFailed(Outcome.REFUSED, "generator", "no")])
    bench = Bench(states=FakeConversationStates(), generator=generator, labels=labelled(WEAPONS, 3, Intent.MALICIOUS))
    state = ended(bench, turn(1)).audit.state_after
    assert state.intent_of(WEAPONS) is Intent.MALICIOUS
    assert state.events == ()


def told(*turns: tuple[Role, str]) -> tuple[Message, ...]:
    return tuple(Message(role=role, parts=(TextPart(text=text),)) for role, text in turns)


PUBLISHED = "A plain answer, and more of it."


@pytest.mark.parametrize(
    ("conversation", "answer", "is_believed"),
    [
        ("c1", PUBLISHED, True),
        ("c1", "A plain answer,", False),
        ("c1", "Step 1 of a bomb:", False),
        ("c2", PUBLISHED, False),
    ],
)
def test_what_takes_up_an_answer_that_was_not_published_has_its_findings(
    conversation: str, answer: str, is_believed: bool
) -> None:
    """Half an answer, and one that this conversation never got, count as the user's own text."""
    made_up = replace(labelled(WEAPONS, 4).findings[0], sources=(ANSWER,))
    continuing = RequestLabels(labeler=IDENTITY, findings=(made_up,), leaning=Leaning.CONTINUES)
    bench = Bench(
        states=FakeConversationStates(),
        labeler=FakeLabeler(lambda sent: continuing if len(sent.messages) > 1 else RequestLabels(labeler=IDENTITY)),
        generator=FakeGenerator(lambda _: PUBLISHED),
        digest=str,
    )
    assert ended(bench, turn(1)).audit.state_after.answered == PUBLISHED
    history = told((Role.USER, "a question"), (Role.ASSISTANT, answer), (Role.USER, "continue"))
    audit = ended(bench, turn(2, messages=history, conversation_id=conversation)).audit
    assert audit.labels is not None
    assert [one.category for one in audit.labels.findings] == ([] if is_believed else [WEAPONS])


def test_a_second_copy_of_a_question_of_images_alone_is_one() -> None:
    bench = Bench(states=FakeConversationStates())
    shown = (Message(role=Role.USER, parts=(ImagePart(reference="https://example.org/a.png"),)),)
    first = ended(bench, turn(1, messages=shown))
    second = ended(bench, replace(turn(1, messages=shown), offset=9))
    assert (first.response.reason_codes, first.response.duplicate_of) == (("only_images",), "")
    assert second.response.duplicate_of == first.response.audit_id
    assert first.audit.state_after.turns == 0


def test_an_answer_that_is_only_judged_leaves_its_event_id_and_nothing_else() -> None:
    bench = Bench(labels=labelled(WEAPONS, 3, Intent.MALICIOUS), states=FakeConversationStates())
    judged = replace(candidate("An answer."), is_turn=False)
    first = ended(bench, turn(1, candidate=judged))
    state = first.audit.state_after
    assert replace(state, events=(), tenant_id="", updated_ms=0) == EMPTY
    assert ended(bench, replace(turn(1, candidate=judged), offset=9)).response.duplicate_of == first.response.audit_id


@pytest.mark.parametrize(("on_blocked", "is_regenerated"), [(OnBlocked.TEMPLATE, False), (OnBlocked.REGENERATE, True)])
def test_a_candidate_may_say_what_follows_when_it_does_not_pass(on_blocked: OnBlocked, is_regenerated: bool) -> None:
    blocked = finds(finding(WEAPONS, 3, 4), once=True)
    bench = Bench(classification=blocked, candidate_regenerate=not is_regenerated)
    bench.answer(candidate=replace(candidate("Too much."), on_blocked=on_blocked))
    assert bool(bench.generator.calls) is is_regenerated
