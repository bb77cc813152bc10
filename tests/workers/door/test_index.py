"""Which answers a door can give again."""

from hypothesis import given
from hypothesis import strategies as st

from workers.door.index import AnswerIndex, Entry

REPLAY_MS = 600_000
NOW_MS = 2_000_000_000_000


def entry(number: int, *, event: str | None = None, tenant: str = "t", age_ms: int = 0) -> Entry:
    return Entry(f"audit-{number}", (tenant, event or f"e{number}"), "digest", 0, number, NOW_MS - age_ms)


def test_the_first_answer_to_an_event_counts() -> None:
    index = AnswerIndex(10, REPLAY_MS)
    index.add(entry(1, event="e"))
    index.add(entry(2, event="e"))
    assert index.of_event(("t", "e"), NOW_MS) == entry(1, event="e")
    assert index.of_audit_id("audit-2", NOW_MS) == entry(2, event="e")


def test_another_tenants_event_of_the_same_id_is_another() -> None:
    index = AnswerIndex(10, REPLAY_MS)
    index.add(entry(1, event="e", tenant="other"))
    assert index.of_event(("t", "e"), NOW_MS) is None


def test_an_answer_that_is_read_twice_is_one() -> None:
    index = AnswerIndex(10, REPLAY_MS)
    index.add(entry(1))
    index.add(entry(1))
    assert len(index) == 1


def test_an_old_answer_is_not_known_before_it_is_dropped_either() -> None:
    index = AnswerIndex(10, REPLAY_MS)
    index.add(entry(1, age_ms=REPLAY_MS + 1))
    assert index.of_event(("t", "e1"), NOW_MS) is None
    assert index.of_audit_id("audit-1", NOW_MS) is None
    index.forget(NOW_MS)
    assert len(index) == 0


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5), st.integers(0, 2 * REPLAY_MS))), st.integers(1, 8))
def test_it_never_holds_more_than_it_may(given: list[tuple[int, int, int]], most: int) -> None:
    index = AnswerIndex(most, REPLAY_MS)
    for number, event, age_ms in given:
        index.add(entry(number, event=f"e{event}", age_ms=age_ms))
        assert len(index) <= most
    index.forget(NOW_MS)
    for event in range(6):
        found = index.of_event(("t", f"e{event}"), NOW_MS)
        assert found is None or found.appended_ms >= NOW_MS - REPLAY_MS


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), unique_by=lambda each: each[0]), st.data())
def test_a_new_door_knows_what_a_running_one_does(given: list[tuple[int, int]], data: st.DataObject) -> None:
    """Appended in order of time: the running door has read all of it, the new one what is young enough."""
    count = len(given)
    entries = [
        entry(number, event=f"e{event}", age_ms=(count - place) * 60_000) for place, (number, event) in enumerate(given)
    ]
    now_ms = NOW_MS + data.draw(st.integers(0, REPLAY_MS))
    running, new = AnswerIndex(100, REPLAY_MS), AnswerIndex(100, REPLAY_MS)
    for each in entries:
        running.add(each)
        running.forget(each.appended_ms)
        if each.appended_ms >= now_ms - REPLAY_MS:
            new.add(each)
    for each in entries:
        assert running.of_audit_id(each.audit_id, now_ms) == new.of_audit_id(each.audit_id, now_ms)
        assert running.of_event(each.event, now_ms) == new.of_event(each.event, now_ms)
