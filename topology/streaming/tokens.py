"""Which of two runs of an event is the later one.

A later generation of the consumer group is higher. Within one generation a slot's producer counts its epochs, and its
worker its runs. Two producers under one generation cannot be told apart in time: their tokens are not comparable, and
the response alone decides.
"""

from enum import Enum

from topology.contract.streams import StreamToken


class Order(Enum):
    """How a token stands to another one."""

    LOWER = "lower"
    SAME = "same"
    HIGHER = "higher"
    UNKNOWN = "unknown"
    """Not comparable: another producer under the same generation."""


def order(token: StreamToken, other: StreamToken) -> Order:
    """Return how `token` stands to `other`."""
    if token.generation == other.generation and token.producer_id != other.producer_id:
        return Order.UNKNOWN
    mine, theirs = _place(token), _place(other)
    if mine == theirs:
        return Order.SAME
    return Order.HIGHER if mine > theirs else Order.LOWER


def _place(token: StreamToken) -> tuple[int, int, int]:
    return token.generation, token.epoch, token.run
