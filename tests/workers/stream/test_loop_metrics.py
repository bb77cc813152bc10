"""What the loop counts and shows: records, transactions, lag and windows."""

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader

from tests.plugins.memory_loop import (
    AUDIT,
    INPUT,
    OUTPUT,
    WAIT_S,
    Desk,
    FastClock,
    World,
    running,
)
from tests.plugins.patience import wait_until
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.development.memory_broker import FAKE_TIME_MS, FakeSource
from workers.settings import LimitSettings


def places(partition: int, count: int, start: int = 0) -> list[tuple[int, int]]:
    return [(partition, offset) for offset in range(start, count)]


def test_what_the_loop_does_is_counted() -> None:
    reader = InMemoryMetricReader()
    metrics = Instruments(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"))
    world, desk = World(), Desk((0, 0))
    world.send(0, 3)
    with running(world.loop(desk.process, metrics=metrics)):
        wait_until(lambda: metrics.value(Metric.INFLIGHT_EVENTS) == 1, WAIT_S)
        world.wait_answered(2)
        desk.release((0, 0))
        wait_until(lambda: metrics.value(Metric.EVENTS_PUBLISHED, topic=AUDIT) == 3, WAIT_S)
        wait_until(lambda: metrics.value(Metric.INFLIGHT_EVENTS) == 0, WAIT_S)
    assert metrics.value(Metric.EVENTS_CONSUMED, topic=INPUT) == 3
    assert metrics.value(Metric.EVENTS_PUBLISHED, topic=OUTPUT) == 3
    assert commit_count(reader) in {2, 3}, "those that were done, perhaps not all at once, and the slow one"


def test_lag_is_what_was_not_read_and_what_is_held_and_goes_with_the_partitions() -> None:
    world, desk, metrics = World(), Desk(*places(0, 10)), Instruments.none()
    world.send(0, 10)

    def lag(metric: Metric, partition: str = "0") -> float:
        return metrics.value(metric, topic=INPUT, partition=partition)

    clock = FastClock(20)
    with running(world.loop(desk.process, metrics=metrics, clock=clock, limits=LimitSettings(queue_events_max=10))):
        wait_until(lambda: lag(Metric.CONSUMER_LAG) == 10, WAIT_S)
        world.send(0, 3)
        wait_until(lambda: lag(Metric.CONSUMER_LAG) == 13, WAIT_S)
        age_s = (clock.now_ms() - FAKE_TIME_MS) / 1000
        assert age_s - WAIT_S <= lag(Metric.CONSUMER_LAG_SECONDS) <= age_s
        assert lag(Metric.CONSUMER_LAG, "1") == lag(Metric.CONSUMER_LAG_SECONDS, "1") == 0
        desk.release(*places(0, 10))
        wait_until(lambda: lag(Metric.CONSUMER_LAG) == lag(Metric.CONSUMER_LAG_SECONDS) == 0, WAIT_S)
        desk.hold((1, 0))
        world.send(1, 1)
        wait_until(lambda: lag(Metric.CONSUMER_LAG, "1") == 1, WAIT_S)
        FakeSource(world.broker, INPUT, 1)  # takes partition 1
        wait_until(lambda: lag(Metric.CONSUMER_LAG, "1") == 0, WAIT_S)


def test_windows_are_shown_by_fill_and_by_the_length_of_their_map_and_go_with_the_partitions() -> None:
    world, desk, metrics = World(), Desk((0, 0), (1, 0)), Instruments.none()
    world.send(0, 40)
    world.send(1, 1)

    def shown(metric: Metric, partition: str) -> float:
        return metrics.value(metric, topic=INPUT, partition=partition)

    with running(world.loop(desk.process, metrics=metrics, clock=FastClock(20))):
        wait_until(lambda: shown(Metric.OFFSET_MAP_CHARS, "0") > 0, WAIT_S)
        assert shown(Metric.OFFSET_MAP_CHARS, "0") == len(world.broker.position(INPUT, 0).metadata)
        wait_until(lambda: 0 < shown(Metric.WINDOW_FILL, "0") == shown(Metric.WINDOW_FILL, "1") < 0.01, WAIT_S)
        assert shown(Metric.OFFSET_MAP_CHARS, "1") == 0
        FakeSource(world.broker, INPUT, 1)  # takes partition 1
        wait_until(lambda: shown(Metric.WINDOW_FILL, "1") == 0, WAIT_S)
        desk.release((0, 0))
        wait_until(lambda: shown(Metric.WINDOW_FILL, "0") == shown(Metric.OFFSET_MAP_CHARS, "0") == 0, WAIT_S)


def commit_count(reader: InMemoryMetricReader) -> int:
    data = reader.get_metrics_data()
    assert data is not None
    return sum(
        point.count
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == Metric.COMMIT_DURATION
        for point in metric.data.data_points
        if isinstance(point, HistogramDataPoint)
    )
