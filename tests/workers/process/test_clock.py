"""Waits between attempts double up to a bound, whatever number of them there are."""

from workers.process.clock import backoff_s


def test_a_wait_doubles_up_to_its_bound() -> None:
    assert [backoff_s(0.25, doublings, 10.0) for doublings in (0, 1, 2, 100_000)] == [0.25, 0.5, 1.0, 10.0]
