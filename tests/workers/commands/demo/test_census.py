"""The census finds every way in which "exactly once, audited, in order" can break."""

import pytest

from topology.contract.codec import encode
from topology.contract.errors import DeadLetterReason
from topology.contract.events import Action, AuditedResponse, AuditRecord, Position, TextPart
from topology.contract.labels import Mode
from topology.contract.names import Header
from topology.contract.records import Record
from workers.commands.demo.census import Census, Sent, take_census

SENT = (
    Sent(name="first", topic="in", partition=0, offset=0, event_id="e0"),
    Sent(name="second", topic="in", partition=0, offset=1, event_id="e1"),
    Sent(name="broken", topic="in", partition=0, offset=2, expected=DeadLetterReason.MALFORMED),
)


def answered(event_id: str, action: Action = Action.PUBLISHED) -> Record:
    response = AuditedResponse(
        event_id=event_id,
        conversation_id="c",
        tenant_id="t",
        action=action,
        mode=Mode.DIRECT_ANSWER,
        parts=(TextPart(text="x"),),
        reason_codes=(),
        policy_ref="p@1#0",
        audit_id=event_id,
    )
    return record("out", encode(response))


def audited(event_id: str, offset: int) -> Record:
    audit = AuditRecord(
        audit_id=event_id,
        event_id=event_id,
        conversation_id="c",
        tenant_id="t",
        position=Position(topic="in", partition=0, offset=offset, timestamp_ms=0),
        policy_ref="p@1#0",
        overlay_ref="",
        action=Action.PUBLISHED,
        reason_codes=(),
        labels=None,
        plan=None,
        request=None,
        attempts=(),
        response_digest="",
    )
    return record("audit", encode(audit))


def letter(offset: int, reason: DeadLetterReason = DeadLetterReason.MALFORMED) -> Record:
    headers = (
        (Header.ORIGINAL_TOPIC.value, b"in"),
        (Header.ORIGINAL_PARTITION.value, b"0"),
        (Header.ORIGINAL_OFFSET.value, str(offset).encode()),
        (Header.ORIGINAL_TIMESTAMP.value, b"0"),
        (Header.REASON.value, reason.value.encode()),
    )
    return record("dlq", b"{", headers)


def record(topic: str, value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    return Record(topic=topic, partition=0, offset=0, timestamp_ms=0, key=b"c", value=value, headers=headers)


GOOD_ANSWERS = [answered("e0"), answered("e1")]
GOOD_AUDITS = [audited("e0", 0), audited("e1", 1)]
GOOD_LETTERS = [letter(2)]


def test_a_complete_run_holds() -> None:
    census = take_census(SENT, GOOD_ANSWERS, GOOD_AUDITS, GOOD_LETTERS)
    assert census.is_exactly_once
    assert (census.answered_count, census.dead_lettered_count) == (2, 1)
    assert census.actions == {"published": 2}
    assert census.dead_letter_reasons == {"malformed": 1}


REJECTED = Sent(name="role", topic="in", partition=0, offset=3, event_id="e3", expected=DeadLetterReason.INVALID)


def test_a_record_that_names_its_ids_is_dead_lettered_and_rejected() -> None:
    def census(*answers: Record, audits: int = 1) -> Census:
        letters = [*GOOD_LETTERS, letter(3, DeadLetterReason.INVALID)]
        read = [audited("e3", 3)] * audits
        return take_census([*SENT, REJECTED], [*GOOD_ANSWERS, *answers], [*GOOD_AUDITS, *read], letters)

    assert census(answered("e3", Action.REJECTED)).is_exactly_once
    assert census(audits=0).lost == ("e3",)
    assert census(answered("e3")).wrong_reason == ("e3",)
    assert census(answered("e3", Action.REJECTED), audits=0).unaudited == ("e3",)
    assert census(*[answered("e3", Action.REJECTED)] * 2).duplicated == ("e3",)


def test_an_event_without_a_fault_is_not_rejected() -> None:
    answers = [answered("e0", Action.REJECTED), answered("e1")]
    assert take_census(SENT, answers, GOOD_AUDITS, GOOD_LETTERS).wrong_reason == ("e0",)


def test_a_withheld_event_may_also_be_a_dead_letter() -> None:
    answers = [answered("e0", Action.WITHHELD), answered("e1")]
    letters = [*GOOD_LETTERS, letter(0, DeadLetterReason.PROCESSING_FAILED)]
    assert take_census(SENT, answers, GOOD_AUDITS, letters).is_exactly_once


@pytest.mark.parametrize(
    ("census", "fault", "named"),
    [
        (take_census(SENT, GOOD_ANSWERS[:1], GOOD_AUDITS[:1], GOOD_LETTERS), "lost", "e1"),
        (take_census(SENT, GOOD_ANSWERS, GOOD_AUDITS, []), "lost", "broken"),
        (take_census(SENT, [*GOOD_ANSWERS, answered("e0")], GOOD_AUDITS, GOOD_LETTERS), "duplicated", "e0"),
        (take_census(SENT, GOOD_ANSWERS, GOOD_AUDITS, [letter(2), letter(2)]), "duplicated", "broken"),
        (take_census(SENT, GOOD_ANSWERS, GOOD_AUDITS[:1], GOOD_LETTERS), "unaudited", "e1"),
        (take_census(SENT, GOOD_ANSWERS, [*GOOD_AUDITS, audited("e1", 1)], GOOD_LETTERS), "unaudited", "e1"),
        (take_census(SENT, GOOD_ANSWERS, GOOD_AUDITS[::-1], GOOD_LETTERS), "out_of_order", "c"),
        (
            take_census(SENT, GOOD_ANSWERS, GOOD_AUDITS, [letter(2, DeadLetterReason.INVALID)]),
            "wrong_reason",
            "broken: invalid",
        ),
        (take_census(SENT, GOOD_ANSWERS, GOOD_AUDITS, [*GOOD_LETTERS, letter(1)]), "wrong_reason", "e1"),
        (take_census(SENT, [*GOOD_ANSWERS, answered("ghost")], GOOD_AUDITS, GOOD_LETTERS), "unexpected", "ghost"),
        (take_census(SENT, GOOD_ANSWERS, GOOD_AUDITS, [*GOOD_LETTERS, letter(77)]), "unexpected", "in/0/77"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_is_found_and_named(census: Census, fault: str, named: str) -> None:
    assert named in getattr(census, fault)
    assert not census.is_exactly_once
