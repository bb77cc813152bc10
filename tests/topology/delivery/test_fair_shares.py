"""Deficit round robin: order within a tenant, shares by cost, classes that are never passed over for ever."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.contract.tenants import Priority, Share
from topology.delivery.fair_shares import PASSED_OVER_MAX, FairShares

COST_MAX = 40
ITEMS = 12
TENANTS = ("a", "b", "c")

costs = st.lists(st.integers(1, COST_MAX), min_size=ITEMS, max_size=ITEMS)
shares = st.builds(
    Share,
    tenant_id=st.sampled_from(TENANTS),
    weight=st.integers(1, 9),
    priority=st.sampled_from(list(Priority)),
)


def started(queue: FairShares[int]) -> list[int]:
    found: list[int] = []
    while queue:
        found.append(queue.pop())
    return found


def test_one_tenant_starts_in_order() -> None:
    queue = FairShares[int]()
    for order in (3, 1, 2):
        queue.push(Share(tenant_id="a"), order, 1, order)
    assert started(queue) == [1, 2, 3]


def test_a_flood_does_not_delay_another_tenant() -> None:
    queue = FairShares[str]()
    for order in range(1000):
        queue.push(Share(tenant_id="flood"), order, 1, "flood")
    queue.push(Share(tenant_id="quiet"), 1000, 1, "quiet")
    assert "quiet" in [queue.pop(), queue.pop()]


def test_nothing_to_start_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        FairShares[int]().pop()


@given(st.lists(st.tuples(shares, st.integers(1, COST_MAX)), max_size=24))
def test_everything_starts_once_and_each_tenant_of_a_class_in_order(items: list[tuple[Share, int]]) -> None:
    queue = FairShares[int]()
    for order, (share, cost) in enumerate(items):
        queue.push(share, order, cost, order)
    order = started(queue)
    assert sorted(order) == list(range(len(items)))
    for tenant_id in TENANTS:
        for priority in Priority:
            own = [n for n in order if items[n][0].tenant_id == tenant_id and items[n][0].priority is priority]
            assert own == sorted(own)


@given(st.tuples(costs, costs, costs), st.tuples(*[st.integers(1, 9)] * 3), st.integers(1, 2 * ITEMS))
def test_tenants_that_always_wait_share_by_weight(
    costs_of: tuple[list[int], ...], weights: tuple[int, ...], count: int
) -> None:
    """For tenants that never run out, cost by weight differs by one turn and one item at most."""
    queue = FairShares[tuple[str, int]]()
    for tenant_id, own, weight in zip(TENANTS, costs_of, weights, strict=True):
        for order, cost in enumerate(own):
            queue.push(Share(tenant_id=tenant_id, weight=weight), order, cost, (tenant_id, cost))
    served, items = Counter[str](), Counter[str]()
    for _ in range(count):
        tenant_id, cost = queue.pop()
        served[tenant_id] += cost
        items[tenant_id] += 1
        if items[tenant_id] == ITEMS:
            return  # from now on one of them has run out
        for one, weight in zip(TENANTS, weights, strict=True):
            for other, its_weight in zip(TENANTS, weights, strict=True):
                ahead = served[one] / weight - served[other] / its_weight
                assert ahead <= 1 + COST_MAX / weight + COST_MAX / its_weight


@given(st.permutations([Priority.INTERACTIVE, Priority.STANDARD, Priority.BATCH]))
def test_the_urgent_class_goes_first_and_no_class_waits_for_ever(order: list[Priority]) -> None:
    queue = FairShares[Priority]()
    for place, priority in enumerate(order):
        for number in range(50):
            queue.push(Share(tenant_id="a", priority=priority), number * 3 + place, 1, priority)
    seen = [queue.pop() for _ in range(50)]
    assert seen[:PASSED_OVER_MAX] == [Priority.INTERACTIVE] * PASSED_OVER_MAX
    for priority in Priority:
        places = [-1, *(place for place, each in enumerate(seen) if each is priority)]
        assert max(b - a for a, b in pairwise(places)) <= PASSED_OVER_MAX + 2
    assert Counter(seen)[Priority.INTERACTIVE] > Counter(seen)[Priority.BATCH]
