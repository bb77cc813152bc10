"""A streamed example as it is told: by the reader's rule, with times, and with what was stopped."""

import msgspec
import pytest
from msgspec import structs

from topology.contract.codec import encode
from topology.contract.events import (
    Action,
    Attempt,
    AuditedResponse,
    AuditRecord,
    LoggedText,
    Position,
    TextPart,
    Usage,
)
from topology.contract.labels import (
    CategoryId,
    Extent,
    Mode,
    OutputFinding,
    OutputLabels,
    Plan,
    ReleasedText,
    Verdict,
    VerdictKind,
)
from topology.contract.names import DraftSource
from topology.contract.records import Record
from topology.contract.streams import StreamKind, StreamRecord, StreamToken
from workers.commands.demo.story.examples import Example, examples
from workers.commands.demo.view import StreamView, faults
from workers.settings import TopicSettings

SEED = 7
CATEGORY = CategoryId("regulated_advice.financial")
TOPICS = TopicSettings()
DRIFTING = next(example for example in examples() if example.name == "drifting")
EVENT = DRIFTING.event(SEED)
BEGUN, REST = "It stays.", " Ask us."
FIRST, SECOND = (StreamToken(generation=1, epoch=0, producer_id=1, run=run) for run in (1, 2))


def of_stream(token: StreamToken, sequence: int, text: str, at_ms: int, event_id: str = EVENT.event_id) -> Record:
    kind = StreamKind.SEGMENT if sequence else StreamKind.OPENED
    found = StreamRecord(
        audit_id="a",
        event_id=event_id,
        conversation_id="c",
        tenant_id="t",
        token=token,
        kind=kind,
        sequence=sequence,
        text=text,
    )
    return record(TOPICS.stream, msgspec.json.encode(found), at_ms)


def record(topic: str, value: bytes, at_ms: int) -> Record:
    return Record(topic=topic, partition=0, offset=0, timestamp_ms=at_ms, key=b"c", value=value, headers=())


def attempt(text: str, rule: str, extent: Extent, detail: int, words: int) -> Attempt:
    verdict = VerdictKind.PUBLISH if rule == "V99" else VerdictKind.REVISE
    return Attempt(
        source=DraftSource.GENERATOR,
        draft=LoggedText(redacted=text, spans=(), digest=""),
        labels=OutputLabels(
            findings=(OutputFinding(category=CATEGORY, harm=1, detail_lo=detail, detail_hi=detail),), guards=()
        ),
        verdict=Verdict(verdict=verdict, rule_ids=(rule,), policy_ref="p@1#0"),
        usage=Usage(output_tokens=words),
        extent=extent,
    )


STOPPED = attempt(f"{BEGUN} Buy it on Monday.", "V08a", Extent.PREFIX, 3, 6)
WENT_ON = attempt(BEGUN + REST, "V99", Extent.WHOLE, 1, 2)


def ended(view: StreamView, text: str, at_ms: int, *attempts: Attempt) -> list[str]:
    """What is told once the response and its audit record are there."""
    response = AuditedResponse(
        event_id=EVENT.event_id,
        conversation_id=EVENT.conversation_id,
        tenant_id=EVENT.tenant_id,
        action=Action.PUBLISHED,
        mode=Mode.DIRECT_ANSWER,
        parts=(TextPart(text=text),),
        reason_codes=("V99",),
        policy_ref="p@1#0",
        audit_id="a",
    )
    audit = AuditRecord(
        audit_id="a",
        event_id=EVENT.event_id,
        conversation_id=EVENT.conversation_id,
        tenant_id=EVENT.tenant_id,
        position=Position(topic="in", partition=0, offset=0, timestamp_ms=0),
        policy_ref="p@1#0",
        overlay_ref="",
        action=Action.PUBLISHED,
        reason_codes=("V99",),
        labels=None,
        plan=Plan(mode=Mode.DIRECT_ANSWER, ceilings={CATEGORY: 2}),
        request=None,
        attempts=attempts,
        response_digest="",
        released=(
            ReleasedText(length=len(BEGUN), source=DraftSource.GENERATOR, attempt=1),
            ReleasedText(length=len(REST), source=DraftSource.GENERATOR, attempt=2),
        ),
    )
    lines = view.add(record(TOPICS.audited, encode(response), at_ms), TOPICS)
    assert not lines
    return [line.plain for line in view.add(record(TOPICS.audit, encode(audit), at_ms), TOPICS)]


def told(view: StreamView, *records: Record) -> list[str]:
    return [line.plain for each in records for line in view.add(each, TOPICS)]


@pytest.fixture
def view() -> StreamView:
    return StreamView(DRIFTING, SEED, 80)


def test_a_segment_is_told_when_it_arrives_with_the_time_since_the_first_run_opened(view: StreamView) -> None:
    shows, question = (line.plain for line in view.begin())
    assert shows == DRIFTING.shows
    assert question == f"▸ streaming       {DRIFTING.question}"
    assert told(view, of_stream(FIRST, 0, "", 1000), of_stream(FIRST, 1, BEGUN, 2540)) == [
        "  after 1.5 s     It stays."
    ]
    again = (of_stream(SECOND, 0, "", 3000), of_stream(FIRST, 2, " Late.", 3100), of_stream(SECOND, 2, REST, 4000))
    assert told(view, *again) == ["  after 3.0 s     Ask us."]
    assert told(view, of_stream(SECOND, 3, " Not mine.", 4000, event_id="another")) == []


def test_a_long_segment_stays_in_its_columns(view: StreamView) -> None:
    lines = told(view, of_stream(FIRST, 0, "", 0), of_stream(FIRST, 1, "many words " * 30, 100))
    assert len(lines) > 3
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(" " * 18) for line in lines[1:])


def test_a_draft_that_was_stopped_is_told_with_what_was_never_shown(view: StreamView) -> None:
    told(view, of_stream(FIRST, 0, "", 0), of_stream(FIRST, 1, BEGUN, 900), of_stream(FIRST, 2, REST, 1900))
    words = len(DRIFTING.above.split())
    assert ended(view, BEGUN + REST, 2000, STOPPED, WENT_ON) == [
        "✓ published       after 2.0 s, what was shown stays",
        "                  draft 1: a little too much detail (V08a): 3, allowed 2",
        f"                  its request was closed after 6 of {words} words; never shown:",
        "                  “Buy it on Monday.”",
        "                  draft 2: within limits (V99)",
    ]


def test_what_the_response_adds_is_told_and_what_it_replaces_is_said(view: StreamView) -> None:
    told(view, of_stream(FIRST, 0, "", 0), of_stream(FIRST, 1, BEGUN, 900))
    assert ended(view, BEGUN + REST, 2000, WENT_ON) == [
        "  after 2.0 s     Ask us.",
        "✓ published       after 2.0 s, what was shown stays",
    ]
    other = StreamView(DRIFTING, SEED, 80)
    told(other, of_stream(FIRST, 0, "", 0), of_stream(FIRST, 1, BEGUN, 900))
    assert ended(other, "Another.", 2000, WENT_ON)[-1] == "✓ published       after 2.0 s, in place of what was shown"


def test_an_answer_of_which_nothing_left_before_its_end_is_told_whole(view: StreamView) -> None:
    assert ended(view, BEGUN, 2000, WENT_ON)[-1].endswith(", in one piece")
    assert view.is_complete


def test_an_example_that_ended_otherwise_or_not_at_all_is_said(view: StreamView) -> None:
    assert "not answered in time" in faults(None, DRIFTING, SEED)[0].plain
    ended(view, BEGUN, 2000, WENT_ON)
    decision = view.decisions[EVENT.event_id]
    assert faults(decision, DRIFTING, SEED) == []
    other: Example = structs.replace(DRIFTING, action=Action.REFUSED)
    assert "refused was expected here" in faults(decision, other, SEED)[0].plain


def test_two_examples_stream_and_the_model_writes_them_slowly() -> None:
    streamed = [example for example in examples() if example.streams]
    assert [example.name for example in streamed] == ["streamed", "drifting"]
    for example in streamed:
        longest = max(example.within, example.above if example is DRIFTING else "", key=len)
        assert example.event(SEED).stream
        assert 2000 < example.script.word_ms * len(longest.split()) < 10_000
    assert not any(example.script.word_ms for example in examples() if not example.streams)
