"""The order of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topology.streaming.stream_samples import token
from topology.contract.streams import StreamToken
from topology.streaming.tokens import Order, order

TOKENS = st.builds(token, st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.integers(1, 3))
_OPPOSITE = {Order.LOWER: Order.HIGHER, Order.HIGHER: Order.LOWER, Order.SAME: Order.SAME, Order.UNKNOWN: Order.UNKNOWN}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (token(2), token(1, epoch=9, run=9), Order.HIGHER),
        (token(2, producer_id=1), token(1, producer_id=8), Order.HIGHER),
        (token(1, epoch=1), token(1, epoch=0, run=9), Order.HIGHER),
        (token(1, run=1), token(1, run=2), Order.LOWER),
        (token(), token(), Order.SAME),
        (token(producer_id=1, run=1), token(producer_id=2, run=2), Order.UNKNOWN),
    ],
    ids=["generation", "other producer", "epoch", "run", "same", "not comparable"],
)
def test_order(one: StreamToken, other: StreamToken, expected: Order) -> None:
    assert order(one, other) is expected


@given(TOKENS, TOKENS)
def test_the_order_read_backwards(one: StreamToken, other: StreamToken) -> None:
    assert order(other, one) is _OPPOSITE[order(one, other)]


@given(TOKENS, TOKENS, TOKENS)
def test_higher_than_the_higher_one_is_higher(one: StreamToken, two: StreamToken, three: StreamToken) -> None:
    if order(one, two) is Order.HIGHER and order(two, three) is Order.HIGHER:
        assert order(one, three) in {Order.HIGHER, Order.UNKNOWN}
