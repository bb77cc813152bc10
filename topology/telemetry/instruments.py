"""The metrics of one process, as OpenTelemetry instruments.

Counters and gauges are kept here and read when they are exported: a count costs a dictionary update (about a
microsecond) instead of the 5 µs of a synchronous instrument. OpenTelemetry has no histogram that is read like that; a
caller that wants cheap ones passes its own recorders (`workers/telemetry/histograms.py`).
"""

import threading
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Final, Generic, TypeVar

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, NoOpMeter, Observation
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from topology.telemetry.metrics import METRICS, Kind, MetricSpec

SERIES_MAX: Final = 1000
"""The most label sets per metric; further values of open labels count as `other`."""
OTHER: Final = "other"

Recorder = Callable[[float, Context | None], None]
"""The recorder of one label set's values of a histogram. The context holds the exemplar's span; None: no exemplar."""

RecorderOf = Callable[[MetricSpec, dict[str, str]], Recorder]
"""A function that returns the recorder of one label set of a histogram; called once for each."""

_LabelValues = tuple[str, ...]
_Spelt = tuple[tuple[str, str], ...]
"""Labels as a call spells them, in the call's order."""

T = TypeVar("T")


class Instruments:
    """The instruments of the metrics in `topology.telemetry.metrics`. Safe from any thread; they never block.

    Names are those of `Metric`. Every wrong use is a bug: a name that is not in the list or is of another kind raises
    KeyError, an unknown label or a value outside its enumeration AssertionError. Without `recorder_of`, the meter makes
    the histograms.
    """

    def __init__(self, meter: Meter, recorder_of: RecorderOf | None = None) -> None:
        recorder_of = recorder_of or _MeterHistograms(meter).recorder_of
        self._counters: dict[str, _Family[_Total]] = {
            spec.name: _totals(spec, meter.create_observable_counter) for spec in _of_kind("counter")
        }
        self._gauges: dict[str, _Family[_Total]] = {
            spec.name: _totals(spec, meter.create_observable_gauge) for spec in _of_kind("gauge")
        }
        self._histograms: dict[str, _Family[Recorder]] = {
            spec.name: _Family(spec, partial(recorder_of, spec)) for spec in _of_kind("histogram")
        }

    @classmethod
    def none(cls) -> "Instruments":
        """Return instruments that nobody exports, for benches and one-off commands."""
        return cls(NoOpMeter("none"))

    def count(self, name: str, n: float = 1, **labels: str) -> None:
        """Add `n`, at least 0, to a counter."""
        assert n >= 0, name
        family = self._counters[name]
        total = family.found.get(tuple(labels.items())) or family.of(labels)
        with family.lock:
            total.value += n

    def observe(self, name: str, value: float, context: Context | None = None, **labels: str) -> None:
        """Record `value` in a histogram; `context` holds the span that becomes the exemplar (`EventTrace.context`)."""
        family = self._histograms[name]
        (family.found.get(tuple(labels.items())) or family.of(labels))(value, context)

    def gauge_set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._gauges[name].of(labels).value = value

    def gauge_clear(self, name: str) -> None:
        """Forget every label set of a gauge, such as the lag of partitions that were given away."""
        self._gauges[name].clear()

    def series(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Return every label set of a counter or gauge with its value."""
        family = self._counters.get(name) or self._gauges[name]
        return [(total.attributes, total.value) for total in family.all()]

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a counter or gauge; 0 if it was never set."""
        family = self._counters.get(name) or self._gauges[name]
        total = family.known(labels)
        return total.value if total is not None else 0


def _of_kind(kind: Kind) -> list[MetricSpec]:
    return [spec for spec in METRICS if spec.kind == kind]


_NO_CONTEXT = set_span_in_context(INVALID_SPAN, Context())
"""The context to pass instead of None or an empty one: for both the SDK takes the ambient one, perhaps another's."""


class _MeterHistograms:
    """The histograms of a meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._made: dict[str, Histogram] = {}

    def recorder_of(self, spec: MetricSpec, attributes: dict[str, str]) -> Recorder:
        """Return the recorder of one label set, as `RecorderOf` does."""
        made = self._made.get(spec.name)
        if made is None:
            made = self._made[spec.name] = self._meter.create_histogram(
                spec.name, spec.unit, spec.help, explicit_bucket_boundaries_advisory=spec.buckets
            )
        return lambda value, context: made.record(value, attributes, context or _NO_CONTEXT)


class _Total:
    """The value of a counter or gauge for one label set."""

    __slots__ = ("attributes", "value")

    def __init__(self, attributes: dict[str, str]) -> None:
        self.attributes = attributes
        self.value: float = 0


class _Family(Generic[T]):
    """The entries of one metric, one for each label set; `make` makes an entry from the labels.

    `found` has them by the labels as calls spell them: looking into a dictionary needs no lock.
    """

    def __init__(self, spec: MetricSpec, make: Callable[[dict[str, str]], T]) -> None:
        self.lock = threading.Lock()
        self.found: dict[_Spelt, T] = {}
        self._name = spec.name
        self._make = make
        self._names = tuple(label.name for label in spec.labels)
        self._keys = frozenset(self._names)
        self._enumerations = tuple(frozenset(label.values) for label in spec.labels)
        self._kept: dict[_LabelValues, T] = {}

    def of(self, labels: dict[str, str]) -> T:
        """Return the entry of this label set, and add it to `found`; the entry of `other` if there are too many."""
        values = self._in_order(labels)
        with self.lock:
            if values not in self._kept and len(self._kept) >= SERIES_MAX:
                pairs = zip(values, self._enumerations, strict=True)
                values = tuple(value if allowed else OTHER for value, allowed in pairs)
            kept = self._kept.get(values)
            if kept is None:
                kept = self._kept[values] = self._make(dict(zip(self._names, values, strict=True)))
            if len(self.found) < SERIES_MAX:
                self.found[tuple(labels.items())] = kept
            return kept

    def known(self, labels: dict[str, str]) -> T | None:
        """Return the entry of this label set; None if there is none."""
        return self._kept.get(self._in_order(labels))

    def all(self) -> list[T]:
        """Return the entries of all label sets."""
        with self.lock:
            return list(self._kept.values())

    def clear(self) -> None:
        """Forget every label set."""
        with self.lock:
            self.found.clear()
            self._kept.clear()

    def _in_order(self, labels: dict[str, str]) -> _LabelValues:
        assert labels.keys() == self._keys, (self._name, sorted(labels))
        values = tuple([str(labels[name]) for name in self._names])
        assert all(
            not allowed or value in allowed for value, allowed in zip(values, self._enumerations, strict=True)
        ), (self._name, values)
        return values


def _totals(spec: MetricSpec, create: Callable[..., object]) -> _Family[_Total]:
    """Return the entries of a counter or a gauge, which the meter reads through the instrument that `create` makes."""
    family = _Family(spec, _Total)
    if spec.zeros:
        for values in product(*(label.values for label in spec.labels)):
            family.of({label.name: value for label, value in zip(spec.labels, values, strict=True)})

    def observations(_options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(total.value, total.attributes) for total in family.all()]

    create(spec.name, [observations], spec.unit, spec.help)
    return family
