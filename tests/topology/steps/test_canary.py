"""Canaries: only the platform's, only lately signed, only whole; and they count as nobody's traffic."""

import base64

import msgspec
import pytest
from msgspec import structs

from serving.fakes import FakeConversationStates
from tests.topology.steps.pipeline_world import BUNDLE, Bench, Ended, event, finding, finds, record_of
from topology.contract.conversation import EMPTY, UsedCanary
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Action, ConversationEvent, Expectation
from topology.contract.names import Header, Topic
from topology.contract.records import Record
from topology.policy.signatures import Proof, Signed, undomained_message
from topology.steps.canary import CANARIES_MAX, is_as_expected, is_spent, require_genuine, signed_fields
from topology.telemetry.metrics import Metric
from workers.commands.canary import CASES, canary_event
from workers.policy.signing import new_private_key, private_key, public_half, public_keys, signature_check
from workers.process.clock import SystemClock

PEM = new_private_key()
VERIFY = signature_check(public_keys({"k1": public_half(PEM)}, "canary.keys"))
NOW_MS = 1_700_000_000_000
AGE_MAX_MS = 600_000


def signed(case: int = 0, now_ms: int = NOW_MS, key_id: str = "k1") -> ConversationEvent:
    return canary_event(CASES[case], key_id, private_key(PEM), now_ms)


def test_a_canary_that_the_platform_signed_is_one() -> None:
    event = signed()
    assert event.canary is not None
    assert VERIFY(Signed.CANARY, signed_fields(event), "k1", event.canary.signature) is Proof.GENUINE
    require_genuine(event, NOW_MS, AGE_MAX_MS, VERIFY)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"event_id": "another"}, "does not verify"),
        ({"deadline_ms": 1}, "does not verify"),
        ({"candidate": None}, "does not verify"),
    ],
)
def test_a_changed_canary_is_a_forgery(change: dict[str, object], word: str) -> None:
    with pytest.raises(DeadLetter, match=word) as caught:
        require_genuine(structs.replace(signed(), **change), NOW_MS, AGE_MAX_MS, VERIFY)
    assert caught.value.reason is DeadLetterReason.RESERVED_TENANT


@pytest.mark.parametrize("now_ms", [NOW_MS + AGE_MAX_MS + 1, NOW_MS - AGE_MAX_MS - 1])
def test_a_canary_of_another_time_is_a_forgery(now_ms: int) -> None:
    with pytest.raises(DeadLetter, match="not issued recently"):
        require_genuine(signed(), now_ms, AGE_MAX_MS, VERIFY)


def test_without_a_known_key_there_are_no_canaries() -> None:
    another = signature_check(public_keys({"k1": public_half(new_private_key())}, "canary.keys"))
    for verify in (None, signature_check({}), another):
        with pytest.raises(DeadLetter, match="does not verify"):
            require_genuine(signed(), NOW_MS, AGE_MAX_MS, verify)


def test_a_signature_is_of_the_whole_event_and_of_nothing_else() -> None:
    event = signed()
    assert event.canary is not None
    fields = signed_fields(event)
    expected = msgspec.to_builtins(structs.replace(event, canary=structs.replace(event.canary, signature="")))
    del expected["canary"]["partition"]
    assert fields == expected
    others = [kind for kind in Signed if VERIFY(kind, fields, "k1", event.canary.signature) is Proof.GENUINE]
    assert others == [Signed.CANARY]


def test_a_canary_in_the_form_of_earlier_versions_is_refused_and_says_so() -> None:
    event = signed()
    assert event.canary is not None
    written = base64.b64encode(private_key(PEM).sign(undomained_message(Signed.CANARY, signed_fields(event)))).decode()
    old = structs.replace(event, canary=structs.replace(event.canary, signature=written))
    with pytest.raises(DeadLetter, match="sign it again"):
        require_genuine(old, NOW_MS, AGE_MAX_MS, VERIFY)
    keys = public_keys({"k1": public_half(PEM)}, "canary.keys")
    require_genuine(old, NOW_MS, AGE_MAX_MS, signature_check(keys, accept_undomained=True))


def test_a_probe_is_well_where_the_gate_did_what_it_must() -> None:
    mark = signed().canary
    assert mark is not None
    assert [action for action in Action if is_as_expected(mark, action)] == [Action.PUBLISHED]
    held = structs.replace(mark, expect=Expectation.HELD)
    assert Action.PUBLISHED not in [action for action in Action if is_as_expected(held, action)]


def genuine(event: ConversationEvent, now_ms: int) -> None:
    del now_ms
    require_genuine(event, NOW_MS, AGE_MAX_MS, VERIFY)


def test_a_canary_is_audited_and_answered_on_a_topic_of_its_own_and_counts_as_nobodys_traffic() -> None:
    bench = Bench(require_genuine=genuine, states=FakeConversationStates())
    ended = Ended(bench.process(record_of(signed())))
    assert len(ended.canaries) == 1
    assert (ended.response.action, ended.audit.canary) == (Action.PUBLISHED, "allowed")
    assert bench.metrics.value(Metric.CANARY_RESULT, case="allowed") == 1
    assert bench.metrics.value(Metric.CANARY_LAST_SUCCESS) > 0
    assert bench.metrics.value(Metric.ACTIONS, action="published", reason="verdict") == 0
    assert not bench.metrics.value(
        Metric.VERDICTS, stage="judge", verdict="publish", category="none", policy_version=BUNDLE.version
    )


class AtTime(SystemClock):
    """A clock that shows one time, in the days of these marks."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.shown_ms = now_ms

    def now_ms(self) -> int:
        return self.shown_ms


def remembering(states: FakeConversationStates | None = None, clock: AtTime | None = None) -> Bench:
    return Bench(require_genuine=genuine, states=states or FakeConversationStates(), clock=clock or AtTime())


def copy_at(event: ConversationEvent, offset: int, *headers: tuple[str, bytes]) -> Record:
    return structs.replace(record_of(event), offset=offset, headers=(*record_of(event).headers, *headers))


def test_of_a_canary_only_its_use_is_kept_so_the_next_one_is_judged_alike() -> None:
    states = FakeConversationStates()
    bench, first = remembering(states), signed()
    topics = {record.topic for record in bench.process(record_of(first)).records}
    assert topics == {Topic.CANARY, Topic.AUDIT, Topic.STATE}
    (kept,) = states.kept.values()
    assert [used.event_id for used in kept.canaries] == [first.event_id]
    assert structs.replace(kept, canaries=(), tenant_id="", updated_ms=0) == EMPTY
    ended = Ended(bench.process(copy_at(signed(), 1)))
    assert (ended.response.action, ended.audit.state_before) == (Action.PUBLISHED, EMPTY)


def test_a_second_copy_of_a_canary_is_an_ordinary_event_whoever_was_killed_between() -> None:
    states, canary = FakeConversationStates(), signed()
    first = Ended(remembering(states).process(record_of(canary)))
    for offset, headers in ((1, ()), (2, ((Header.REPLAYED_FROM.value, b"x"),))):
        bench = remembering(states)  # another worker, with what the state topic holds
        result = bench.process(copy_at(canary, offset, *headers))
        ended = Ended(result)
        assert (ended.canaries, ended.audit.canary) == ([], "")
        assert bench.metrics.value(Metric.CANARY_LAST_SUCCESS) == 0
        assert offset == 2 or ended.audit.duplicate_of == first.audit.audit_id


def test_a_canary_counts_in_the_partition_that_its_mark_names_alone() -> None:
    canary = canary_event(CASES[0], "k1", private_key(PEM), NOW_MS, partition=3)
    assert len(Ended(remembering().process(record_of(canary))).canaries) == 1
    (letter,) = remembering().process(structs.replace(record_of(canary), partition=4)).records
    assert dict(letter.headers)["x-reason"] == b"reserved_tenant"
    assert canary.canary is not None
    elsewhere = structs.replace(canary, canary=structs.replace(canary.canary, partition=4))
    with pytest.raises(DeadLetter, match="does not verify"):
        genuine(elsewhere, NOW_MS)


def test_the_same_record_read_again_is_still_the_canary() -> None:
    states, canary = FakeConversationStates(), signed()
    remembering(states).process(record_of(canary))
    assert len(Ended(remembering(states).process(record_of(canary))).canaries) == 1


def test_what_others_write_into_its_conversation_does_not_make_a_canary_new() -> None:
    states, canary = FakeConversationStates(), signed()
    bench = remembering(states)
    bench.process(record_of(canary))
    bench.process(copy_at(event(conversation_id=canary.conversation_id, tenant_id="other"), 1))
    assert Ended(bench.process(copy_at(canary, 2))).canaries == []


def test_a_used_canary_is_forgotten_when_its_mark_is_no_longer_valid() -> None:
    states, clock = FakeConversationStates(), AtTime()
    bench = remembering(states, clock)
    bench.process(record_of(signed()))
    clock.shown_ms += 3600 * 1000 + 1
    bench.process(copy_at(last := signed(), 1))
    (kept,) = states.kept.values()
    assert [used.event_id for used in kept.canaries] == [last.event_id]


def test_while_no_more_canaries_can_be_remembered_further_ones_are_none() -> None:
    used = [UsedCanary(event_id=str(number), audit_id="a", until_ms=NOW_MS) for number in range(CANARIES_MAX)]
    full = structs.replace(EMPTY, canaries=tuple(used))
    assert is_spent(full, signed(), record_of(signed()))
    assert not is_spent(structs.replace(EMPTY, canaries=tuple(used[1:])), signed(), record_of(signed()))


def test_a_probe_that_passes_though_it_must_be_held_is_a_failure_that_shows() -> None:
    bench = Bench(require_genuine=genuine)
    assert Ended(bench.process(record_of(signed(1)))).response.action is Action.PUBLISHED
    assert bench.metrics.value(Metric.CANARY_RESULT, case="blocked") == 0
    assert bench.metrics.value(Metric.CANARY_LAST_SUCCESS) == 0


def test_a_probe_that_is_held_as_it_must_be_is_well() -> None:
    bench = Bench(require_genuine=genuine, classification=finds(finding("wrongdoing.nonviolent", 3, 4)))
    assert Ended(bench.process(record_of(signed(1)))).response.action is not Action.PUBLISHED
    assert bench.metrics.value(Metric.CANARY_RESULT, case="blocked") == 1


@pytest.mark.parametrize("forged", [signed(), structs.replace(signed(), canary=None)])
def test_an_event_of_the_reserved_tenant_without_the_platforms_signature_is_one_dead_letter(
    forged: ConversationEvent,
) -> None:
    (letter,) = Bench().process(record_of(forged)).records
    assert letter.topic == Topic.DEAD_LETTERS
    assert dict(letter.headers)["x-reason"] == b"reserved_tenant"


def test_the_mark_of_a_canary_on_anybody_elses_event_is_a_dead_letter() -> None:
    (letter,) = Bench(require_genuine=genuine).process(record_of(event(canary=signed().canary))).records
    assert dict(letter.headers)["x-reason"] == b"reserved_tenant"
