"""What a metric is: its kind, unit, labels and buckets, and short ways to write one down."""

from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct

Kind = Literal["counter", "gauge", "histogram"]

SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The defaults of Prometheus, and up to a minute, because a language model answers."""
SHORT_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The buckets of commits, which take milliseconds."""
TOKEN_BUCKETS: Final = tuple(float(4**power) for power in range(11))
"""The first of the boundaries that the GenAI conventions ask for, up to a million tokens."""


class Label(Struct, frozen=True):
    """One label; empty `values` mean that it is open: they come from settings, policy or assignment."""

    name: str
    values: tuple[str, ...] = ()


class MetricSpec(Struct, frozen=True, kw_only=True):
    """One metric. With `zeros`, every label set is exported as 0 from the start, so that absence never means zero."""

    name: StrEnum
    kind: Kind
    unit: str
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    zeros: bool = False


def enumerated(name: str, *enums: type[StrEnum]) -> Label:
    """Return a label whose values are those of enumerations."""
    return Label(name, tuple(member.value for enum in enums for member in enum))


def counter(name: StrEnum, unit: str, text: str, *labels: Label, zeros: bool = False) -> MetricSpec:
    """Return a counter of things of one kind."""
    return MetricSpec(name=name, kind="counter", unit=f"{{{unit}}}", help=text, labels=labels, zeros=zeros)


def gauge(name: StrEnum, unit: str, text: str, *labels: Label) -> MetricSpec:
    """Return a gauge."""
    return MetricSpec(name=name, kind="gauge", unit=unit, help=text, labels=labels)


def seconds(name: StrEnum, text: str, *labels: Label, buckets: tuple[float, ...] = SECONDS_BUCKETS) -> MetricSpec:
    """Return a histogram of durations."""
    return MetricSpec(name=name, kind="histogram", unit="s", help=text, labels=labels, buckets=buckets)
