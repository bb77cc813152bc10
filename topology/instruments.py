"""The metrics of one process, as OpenTelemetry instruments.

Counters and gauges are kept here and read when they are exported: a count costs a dictionary update (about a
microsecond) instead of the 5 µs of a synchronous instrument. There are no histograms that are read: who wants them as
cheap brings recorders of its own (`workers/histograms.py`).
"""

import threading
from collections.abc import Callable, Iterable
from itertools import product
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, NoOpMeter, Observation
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from topology.metrics import METRICS, Metric, MetricSpec

SERIES_MAX: Final = 1000
"""Label sets per metric; further values of open labels count as `other`."""
OTHER: Final = "other"

Recorder = Callable[[float, Context | None], None]
"""Takes a value of one label set of a histogram. The context holds the span that becomes the exemplar; None: none."""

RecorderOf = Callable[[MetricSpec, dict[str, str]], Recorder]
"""The recorder of one label set of a histogram; called once for each."""

_LabelValues = tuple[str, ...]


class Instruments:
    """Counts, observes and sets the metrics of `topology.metrics`. Safe from any thread; never blocks on export.

    Names are those of `Metric`. One that is not in the list is a KeyError; a label that is not, or a value outside its
    enumeration, an AssertionError: both are bugs. Without `recorder_of`, histograms are the meter's.
    """

    def __init__(self, meter: Meter, recorder_of: RecorderOf | None = None) -> None:
        recorder_of = recorder_of or _MeterHistograms(meter).recorder_of
        self._families: dict[str, _Family] = {spec.name: _Family(spec, meter, recorder_of) for spec in METRICS}

    @classmethod
    def none(cls) -> "Instruments":
        """Instruments that are exported nowhere: for benches and one-off commands."""
        return cls(NoOpMeter("none"))

    def count(self, name: str, n: float = 1, **labels: str) -> None:
        """Add `n`, at least 0, to a counter."""
        family = self._families[name]
        assert family.spec.kind == "counter", name
        assert n >= 0, name
        family.add(n, labels)

    def observe(self, name: str, value: float, context: Context | None = None, **labels: str) -> None:
        """Record `value` in a histogram; `context` holds the span that becomes the exemplar (`EventTrace.context`)."""
        family = self._families[name]
        assert family.spec.kind == "histogram", name
        family.recorder(labels)(value, context)

    def gauge_set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        family = self._families[name]
        assert family.spec.kind == "gauge", name
        family.set(value, labels)

    def gauge_clear(self, name: Metric) -> None:
        """Forget every label set of a gauge, such as the lag of partitions that were given away."""
        self._families[name].clear()

    def value(self, name: str, **labels: str) -> float:
        """What a counter or gauge stands at; 0 where it was never touched."""
        return self._families[name].value(labels)


_NO_CONTEXT = set_span_in_context(INVALID_SPAN, Context())
"""Not the ambient context, where another event's span could be; an empty one would mean just that to the SDK."""


class _MeterHistograms:
    """Histograms as the meter makes them."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._made: dict[str, Histogram] = {}

    def recorder_of(self, spec: MetricSpec, attributes: dict[str, str]) -> Recorder:
        """As `RecorderOf`."""
        made = self._made.get(spec.name)
        if made is None:
            made = self._made[spec.name] = self._meter.create_histogram(
                spec.name, spec.unit, spec.help, explicit_bucket_boundaries_advisory=spec.buckets
            )
        return lambda value, context: made.record(value, attributes, context or _NO_CONTEXT)


class _Family:
    """One metric and its label sets."""

    def __init__(self, spec: MetricSpec, meter: Meter, recorder_of: RecorderOf) -> None:
        self.spec = spec
        self._recorder_of = recorder_of
        self._recorders: dict[_LabelValues, Recorder] = {}
        self._names = tuple(label.name for label in spec.labels)
        self._keys = frozenset(self._names)
        self._enumerations = tuple(frozenset(label.values) for label in spec.labels)
        self._lock = threading.Lock()
        self._seen: dict[tuple[tuple[str, str], ...], _LabelValues] = {}
        self._values: dict[_LabelValues, float] = {}
        self._attributes: dict[_LabelValues, dict[str, str]] = {}
        if spec.zeros:
            for values in product(*(label.values for label in spec.labels)):
                self._values[values] = 0
                self._attributes[values] = dict(zip(self._names, values, strict=True))
        self._create(meter)

    def _create(self, meter: Meter) -> None:
        spec = self.spec
        callbacks: list[Callable[[CallbackOptions], Iterable[Observation]]] = [self._observations]
        match spec.kind:
            case "counter":
                meter.create_observable_counter(spec.name, callbacks, spec.unit, spec.help)
            case "gauge":
                meter.create_observable_gauge(spec.name, callbacks, spec.unit, spec.help)
            case "histogram":
                pass  # its recorders come with its label sets

    def add(self, n: float, labels: dict[str, str]) -> None:
        with self._lock:
            values = self._known(labels)
            self._values[values] = self._values.get(values, 0) + n

    def set(self, value: float, labels: dict[str, str]) -> None:
        with self._lock:
            self._values[self._known(labels)] = value

    def clear(self) -> None:
        with self._lock:
            self._seen.clear()
            self._values.clear()
            self._attributes.clear()

    def value(self, labels: dict[str, str]) -> float:
        with self._lock:
            return self._values.get(self._in_order(labels), 0)

    def recorder(self, labels: dict[str, str]) -> Recorder:
        """What takes the values of this label set."""
        values = self._seen.get(tuple(labels.items()))  # to look into a dictionary needs no lock
        recorder = self._recorders.get(values) if values is not None else None
        return recorder or self._new_recorder(labels)

    def _new_recorder(self, labels: dict[str, str]) -> Recorder:
        with self._lock:
            values = self._known(labels)
            recorder = self._recorders.get(values)
            if recorder is None:
                recorder = self._recorders[values] = self._recorder_of(self.spec, self._attributes[values])
            return recorder

    def _known(self, labels: dict[str, str]) -> _LabelValues:
        """The label set as it is kept. Called with the lock held."""
        spelled = tuple(labels.items())
        values = self._seen.get(spelled)
        if values is None:
            values = self._kept(labels)
            if len(self._seen) < SERIES_MAX:
                self._seen[spelled] = values
        return values

    def _kept(self, labels: dict[str, str]) -> _LabelValues:
        values = self._in_order(labels)
        if values in self._attributes:
            return values
        if len(self._attributes) >= SERIES_MAX:
            pairs = zip(values, self._enumerations, strict=True)
            values = tuple(value if allowed else OTHER for value, allowed in pairs)
        self._attributes[values] = dict(zip(self._names, values, strict=True))
        return values

    def _in_order(self, labels: dict[str, str]) -> _LabelValues:
        assert labels.keys() == self._keys, (self.spec.name, sorted(labels))
        values = tuple(labels[name] for name in self._names)
        assert all(
            not allowed or value in allowed for value, allowed in zip(values, self._enumerations, strict=True)
        ), (self.spec.name, values)
        return values

    def _observations(self, _options: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            return [Observation(value, self._attributes[values]) for values, value in self._values.items()]
