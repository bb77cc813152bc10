"""A limit grows while work is fast and the limit is in use, and shrinks before anything is late."""

import pytest

from topology.load.limiter import DECREASE, DECREASE_REFUSED, Limiter, LimiterBounds

BOUNDS = LimiterBounds(least=2, most=64, slow_s=1.0)


def served(limiter: Limiter, rounds: int, took_s: float, start_s: float = 0.0) -> float:
    """Serve rounds of as many as the limit allows, each of which takes so long; return when the last one ended."""
    now_s = start_s
    for _ in range(rounds):
        count = limiter.limit
        for left in range(count, 0, -1):
            limiter.ended(now_s, now_s + took_s, left if left == 1 else count)
        now_s += took_s
    return now_s


def test_fast_work_doubles_a_limit_with_every_round_up_to_its_bound() -> None:
    limiter = Limiter(BOUNDS, start=4)
    served(limiter, 1, 0.1)
    assert limiter.limit in (7, 8)
    served(limiter, 10, 0.1)
    assert limiter.limit == 64


def test_one_slow_round_is_one_decrease_and_growth_is_slow_from_then_on() -> None:
    limiter = Limiter(BOUNDS, start=32)
    now_s = served(limiter, 1, 1.5)
    assert limiter.limit == int(32 * DECREASE)
    before = limiter.limit
    served(limiter, 3, 0.1, now_s)
    assert before < limiter.limit <= before + 4


def test_work_that_was_refused_halves_a_limit_which_never_falls_below_its_bound() -> None:
    limiter = Limiter(BOUNDS, start=32)
    limiter.ended(0.0, 0.1, 32, is_refused=True)
    assert limiter.limit == 32 * DECREASE_REFUSED
    for second in range(1, 20):
        limiter.ended(second, second + 0.1, 9, is_refused=True)
    assert limiter.limit == BOUNDS.least


def test_fast_work_below_the_limit_says_nothing_about_more() -> None:
    limiter = Limiter(BOUNDS, start=32)
    for second in range(100):
        limiter.ended(second, second + 0.1, 3)
    assert limiter.limit == 32


@pytest.mark.parametrize("per_item_s", [0.02, 0.1, 0.4])
def test_work_of_one_thread_settles_where_a_round_is_not_slow(per_item_s: float) -> None:
    """A thread serves in turn, so as many as have begun take that many times as long."""
    limiter, now_s = Limiter(BOUNDS, start=8), 0.0
    rounds: list[float] = []
    for _ in range(200):
        count = limiter.limit
        rounds.append(count * per_item_s)
        for index in range(count):
            limiter.ended(now_s, now_s + (index + 1) * per_item_s, count - index)
        now_s += rounds[-1]
    settled = rounds[100:]
    assert max(settled) <= 1.5 * BOUNDS.slow_s + per_item_s


def test_what_is_fast_is_remembered_for_some_fifty_pieces_of_work() -> None:
    limiter = Limiter(BOUNDS)
    assert limiter.fastest_s == 0
    limiter.ended(0, 0.2, 1)
    limiter.ended(1, 1.1, 1)
    assert limiter.fastest_s == pytest.approx(0.1)
    limiter.ended(2, 2.5, 1)
    assert limiter.fastest_s < 0.12
    limiter.ended(2, 3, 20, pieces=20)
    assert limiter.fastest_s == pytest.approx(0.05)
    for second in range(3, 300):
        limiter.ended(second, second + 0.5, 1)
    assert limiter.fastest_s == pytest.approx(0.5, rel=0.01)
