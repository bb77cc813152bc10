"""Admission: limits on events, tokens and events in flight, budgets that only count, and what a successor knows."""

from hypothesis import given
from hypothesis import strategies as st

from topology.contract.tenants import Charge, Spent, Use
from topology.policy.budgets import OTHERS, UNLIMITED, Concurrency, Limit, TenantBudget, Window
from topology.tenants.admission import CONCURRENCY_WAIT_MS, Admission, PartitionUse

NOW_MS = 1_760_000_000_000 - 1_760_000_000_000 % 86_400_000 + 12 * 3_600_000 + 20_000
"""Twenty seconds after noon."""

EVENT = Use(events=1, generation=Spent(calls=1, input_tokens=30, output_tokens=20))
ADMITTED = Admission()


def budget(*limits: Limit, concurrency: Concurrency | None = None) -> TenantBudget:
    return TenantBudget(tenant_id="acme", version="1.0.0", limits=limits, concurrency=concurrency)


def minute(events: int | None = None, *, tokens: int | None = None, shadow: bool = False) -> Limit:
    return Limit(window=Window.MINUTE, events=events, tokens=tokens, shadow=shadow)


def held(partition: int = 0, partition_count: int = 1, tenants_max: int = 100) -> PartitionUse:
    return PartitionUse(("events", partition), partition_count, tenants_max=tenants_max)


def count(use: PartitionUse, offset: int, now_ms: int = NOW_MS, spent: Use = EVENT, tenant_id: str = "acme") -> Use:
    return use.count(offset, Charge(tenant_id=tenant_id, use=spent), now_ms).use


def test_a_tenant_without_a_budget_is_admitted_and_counted() -> None:
    use = held()
    for offset in range(50):
        assert use.admit(offset, "acme", UNLIMITED, NOW_MS) == ADMITTED
    assert count(use, 0) == EVENT
    assert count(use, 1) == EVENT + EVENT
    assert use.in_flight_count == 48


def test_events_in_flight_count_as_used() -> None:
    use, limits = held(), budget(minute(2))
    assert use.admit(0, "acme", limits, NOW_MS) == ADMITTED
    assert use.admit(1, "acme", limits, NOW_MS) == ADMITTED
    assert use.admit(2, "acme", limits, NOW_MS) == Admission(retry_after_ms=40_000)
    count(use, 0)
    assert use.admit(3, "acme", limits, NOW_MS) == Admission(retry_after_ms=40_000)
    use.release(1)
    assert use.admit(4, "acme", limits, NOW_MS) == ADMITTED


def test_the_next_window_admits_again() -> None:
    use, limits = held(), budget(minute(1))
    use.admit(0, "acme", limits, NOW_MS)
    count(use, 0)
    assert use.admit(1, "acme", limits, NOW_MS + 39_999) == Admission(retry_after_ms=1)
    assert use.admit(1, "acme", limits, NOW_MS + 40_000) == ADMITTED


def test_the_longest_wait_is_told() -> None:
    use = held()
    limits = budget(minute(0), Limit(window=Window.HOUR, events=0))
    assert use.admit(0, "acme", limits, NOW_MS) == Admission(retry_after_ms=3_600_000 - 20_000)


def test_tokens_are_refused_once_they_are_spent() -> None:
    use, limits = held(), budget(minute(tokens=60))
    for offset in range(3):
        assert use.admit(offset, "acme", limits, NOW_MS) == ADMITTED
    count(use, 0)
    assert use.admit(3, "acme", limits, NOW_MS) == ADMITTED
    count(use, 1)
    assert use.admit(4, "acme", limits, NOW_MS) == Admission(retry_after_ms=40_000)


def test_tokens_of_every_draft_count() -> None:
    use, limits = held(), budget(minute(tokens=60))
    again = Use(events=1, generation=Spent(calls=1, input_tokens=30), regeneration=Spent(calls=1, input_tokens=30))
    count(use, 0, spent=again)
    assert use.admit(1, "acme", limits, NOW_MS).retry_after_ms == 40_000


def test_events_in_flight_have_a_limit_of_their_own() -> None:
    use, limits = held(), budget(concurrency=Concurrency(events=1))
    assert use.admit(0, "acme", limits, NOW_MS) == ADMITTED
    assert use.admit(1, "acme", limits, NOW_MS) == Admission(retry_after_ms=CONCURRENCY_WAIT_MS)
    assert use.admit(2, "other", limits, NOW_MS) == ADMITTED
    count(use, 0)
    assert use.admit(3, "acme", limits, NOW_MS) == ADMITTED


def test_a_shadow_budget_admits_and_says_so() -> None:
    use, limits = held(), budget(minute(1, shadow=True), concurrency=Concurrency(events=0, shadow=True))
    assert use.admit(0, "acme", limits, NOW_MS) == Admission(is_shadow_limited=True)


def test_a_partition_admits_its_part() -> None:
    limits = budget(minute(10))
    admitted = 0
    for partition in range(4):
        use = held(partition, 4)
        admitted += sum(use.admit(offset, "acme", limits, NOW_MS) == ADMITTED for offset in range(10))
    assert admitted == 10


def test_a_successor_goes_on_where_the_committed_sum_ends() -> None:
    use, limits = held(), budget(minute(3))
    for offset in range(3):
        use.admit(offset, "acme", limits, NOW_MS)
    count(use, 0)
    committed = use.count(1, Charge(tenant_id="acme", use=EVENT), NOW_MS)
    successor = held()
    successor.restore(committed)
    assert successor.admit(2, "acme", limits, NOW_MS) == ADMITTED
    assert successor.admit(3, "acme", limits, NOW_MS).retry_after_ms == 40_000
    assert count(successor, 2) == EVENT + EVENT + EVENT


def test_of_several_days_the_latest_is_restored() -> None:
    use = held()
    first = use.count(0, Charge(tenant_id="acme", use=EVENT), NOW_MS)
    second = use.count(1, Charge(tenant_id="acme", use=EVENT), NOW_MS + 86_400_000)
    assert (first.use, second.use) == (EVENT, EVENT)
    assert first.key != second.key
    successor = held()
    for record in (second, first):
        successor.restore(record)
    assert count(successor, 2, NOW_MS + 86_400_000) == EVENT + EVENT


def test_too_many_tenants_are_counted_together() -> None:
    use = held(tenants_max=2)
    for offset, tenant_id in enumerate(("a", "b", "c", "d")):
        use.admit(offset, tenant_id, UNLIMITED, NOW_MS)
    count(use, 2, tenant_id="c")
    record = use.count(3, Charge(tenant_id="d", use=EVENT), NOW_MS)
    assert (record.tenant_id, record.use.events) == (OTHERS, 2)
    assert len(use) == 3


def test_tenants_of_an_earlier_day_make_room() -> None:
    use = held(tenants_max=1)
    count(use, 0, tenant_id="a")
    assert use.count(1, Charge(tenant_id="b", use=EVENT), NOW_MS + 86_400_000).tenant_id == "b"
    assert len(use) == 1


@given(st.lists(st.tuples(st.sampled_from(["admit", "count", "release"]), st.integers(0, 30_000)), max_size=120))
def test_no_window_ever_answers_more_than_its_limit(steps: list[tuple[str, int]]) -> None:
    use, limits, now_ms = held(), budget(minute(3)), NOW_MS
    in_flight: list[int] = []
    counted: dict[int, int] = {}
    for offset, (step, later_ms) in enumerate(steps):
        now_ms += later_ms
        if step == "admit":
            if use.admit(offset, "acme", limits, now_ms) == ADMITTED:
                in_flight.append(offset)
        elif in_flight and step == "count":
            count(use, in_flight.pop(0), now_ms)
            counted[now_ms // 60_000] = counted.get(now_ms // 60_000, 0) + 1
        elif in_flight:
            use.release(in_flight.pop(0))
        assert use.in_flight_count == len(in_flight)
    assert max(counted.values(), default=0) <= 3
