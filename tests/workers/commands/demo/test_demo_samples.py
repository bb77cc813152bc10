"""The demonstration's samples: valid, varied, repeatable; and the broken ones are broken as they say."""

from collections import Counter, defaultdict
from itertools import pairwise

import msgspec
import pytest

from topology.contract.codec import RecordLimits, decode_event, encode
from topology.contract.errors import DeadLetter
from topology.contract.events import ConversationEvent, Role
from topology.contract.labels import AgeBand
from topology.contract.records import Record
from topology.contract.texts import request_text
from workers.commands.demo.broken import BrokenRecord, broken_records
from workers.commands.demo.samples import (
    Sample,
    SampleKind,
    Template,
    sample_events,
    samples,
    templates,
)

COUNT = 600
BROKEN = broken_records(7)


def _record(key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    return Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=key, value=value, headers=headers)


@pytest.fixture(scope="module")
def given() -> list[Sample]:
    return samples(COUNT, seed=1)


def test_every_sample_decodes_to_itself(given: list[Sample]) -> None:
    for sample in given:
        event = sample.event
        record = _record(event.conversation_id.encode(), encode(event))
        assert decode_event(record, RecordLimits()) == event


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    assert sample_events(300, seed=3) == sample_events(300, seed=3)
    assert sample_events(300, seed=3) != sample_events(300, seed=4)


def test_a_shorter_run_is_the_beginning_of_a_longer_one() -> None:
    assert sample_events(50, seed=3) == sample_events(120, seed=3)[:50]


@pytest.mark.parametrize("count", [0, 1, 17, 300])
def test_exactly_as_many_come_as_were_asked_for(count: int) -> None:
    assert len(sample_events(count, seed=5)) == count


def test_event_ids_are_unique(given: list[Sample]) -> None:
    assert len({sample.event.event_id for sample in given}) == COUNT


def test_there_are_hundreds_of_different_conversations(given: list[Sample]) -> None:
    texts = {tuple(message.parts for message in sample.event.messages) for sample in given}
    assert len(texts) >= 500


def test_one_lap_shows_every_template_once() -> None:
    expected = Counter[SampleKind]()
    for template in templates():
        turns = sum(turn.role is Role.USER for turn in template.turns)
        expected[template.kind] += turns if template.each_turn else 1
    assert Counter(sample.kind for sample in samples(expected.total(), seed=2)) == expected
    assert set(expected) == set(SampleKind)
    assert min(expected.values()) >= 4


def test_the_second_lap_uses_other_wordings(given: list[Sample]) -> None:
    repeated = [template for template in templates() if template.variant_count() < 2]
    assert repeated == []


def test_no_choice_is_left_open(given: list[Sample]) -> None:
    for sample in given:
        text = request_text(sample.event) if sample.kind is not SampleKind.CODE else ""
        assert "|" not in text
        assert "{" not in sample.event.user.region


def test_a_conversation_grows_turn_by_turn(given: list[Sample]) -> None:
    conversations: dict[str, list[ConversationEvent]] = defaultdict(list)
    for sample in given:
        if sample.kind is SampleKind.MULTI_TURN:
            conversations[sample.event.conversation_id].append(sample.event)
    assert any(len(events) == 3 for events in conversations.values())
    for events in conversations.values():
        for earlier, later in pairwise(events):
            assert later.messages[: len(earlier.messages)] == earlier.messages
            assert later.tenant_id == earlier.tenant_id
        assert all(event.messages[-1].role is Role.USER for event in events)


def test_the_samples_differ_in_tenant_age_region_and_language(given: list[Sample]) -> None:
    users = [sample.event.user for sample in given]
    assert len({sample.event.tenant_id for sample in given}) >= 6
    assert {user.age_band for user in users} == set(AgeBand)
    assert len({user.region for user in users}) >= 20
    assert len({user.locale for user in users}) >= 14


def test_candidates_come_with_candidate_kinds_alone(given: list[Sample]) -> None:
    for sample in given:
        assert (sample.event.candidate is not None) == sample.kind.value.startswith("candidate_")


def test_grants_come_with_the_grant_kind_alone(given: list[Sample]) -> None:
    for sample in given:
        assert bool(sample.event.user.grants) == (sample.kind is SampleKind.GRANT)


@pytest.mark.parametrize("broken", BROKEN, ids=[broken[0] for broken in BROKEN])
def test_a_broken_record_is_dead_lettered_for_its_reason(broken: BrokenRecord) -> None:
    _, reason, key, value, headers = broken
    with pytest.raises(DeadLetter) as caught:
        decode_event(_record(key, value, headers), RecordLimits())
    assert caught.value.reason is reason


def test_broken_records_repeat_and_keep_apart_by_seed() -> None:
    assert broken_records(7) == BROKEN
    keys = {key for _, _, key, _, _ in BROKEN if key}
    assert keys.isdisjoint(key for _, _, key, _, _ in broken_records(8) if key)


def test_an_unknown_field_in_the_data_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "benign", "user": "x", "tennant": "y"}, Template)
