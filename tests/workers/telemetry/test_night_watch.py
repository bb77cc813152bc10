"""The night watch: one line for each kind and look, with counts; silence while all is well; never a user's text."""

from collections.abc import Iterator, Sequence

import msgspec
import pytest

from serving.fakes import ManualClock
from topology.contract.codec import RecordLimits, decode_event
from topology.contract.dead_letters import dead_letter
from topology.contract.errors import DeadLetter
from topology.contract.records import OutRecord, Ownership, PartitionOffset, Record
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.telemetry.letter_notes import LetterNotes, NotedSink
from workers.telemetry.model_health import ModelHealth, ModelState, ModelWatch
from workers.telemetry.night_watch import EVERY_S, NightWatch, TimeBound, WatchBounds, guard_bounds

SECRET = "the-words-of-a-user"
DLQ = "letters"
LIMITS = RecordLimits(event_bytes_max=2000, dead_letter_bytes_max=100, nesting_depth_max=16)
HERE = Ownership(generation=1, member_id="m", group_id="g", instance_id="i")
BOUNDS = WatchBounds(
    guards=guard_bounds(assess=10, stages={"classification": 5, "bias": 5, "logging": 5}, guard_llm=20),
    lag=TimeBound("telemetry.lag_warning_s", 60),
    standstill=TimeBound("telemetry.standstill_warning_s", 120),
)


class Night:
    """A watch over instruments and one model, on a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = Instruments.none()
        self.letters = LetterNotes(DLQ)
        self.rest_left_s = 0.0
        self.model = ModelWatch(
            "generator",
            "scripted",
            "127.0.0.1:28001",
            rest_left_s=lambda: self.rest_left_s,
            monotonic_s=self.clock.monotonic_s,
        )
        self.lines: list[str] = []
        self.watch = NightWatch(
            self.metrics,
            self.letters,
            self._models,
            BOUNDS,
            monotonic_s=self.clock.monotonic_s,
            say=self.lines.append,
        )

    def _models(self) -> Sequence[ModelHealth]:
        return [self.model.health()]

    def look(self) -> list[str]:
        """The lines of a look, `EVERY_S` after the last one."""
        self.clock.advance(EVERY_S)
        self.lines.clear()
        self.watch.look()
        return list(self.lines)


class KeptSink:
    """A sink that answers as it is told."""

    def __init__(self, *, answer: bool) -> None:
        self._answer = answer

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        return self._answer

    def close(self) -> None: ...


def letter_of(value: bytes, offset: int) -> OutRecord:
    """The dead letter of a record that is no event."""
    record = Record(topic="in", partition=2, offset=offset, timestamp_ms=1, key=SECRET.encode(), value=value)
    with pytest.raises(DeadLetter) as caught:
        decode_event(record, LIMITS)
    return dead_letter(record, caught.value, LIMITS, DLQ)


def broken_values() -> Iterator[bytes]:
    """Values whose every part is somebody's words: names of fields, values, ids, and no JSON at all."""
    yield SECRET.encode()
    yield b""
    yield b"\xff" + SECRET.encode()
    yield msgspec.json.encode({SECRET: SECRET, "event_id": SECRET})
    yield msgspec.json.encode(
        {
            "event_id": SECRET,
            "conversation_id": SECRET,
            "tenant_id": SECRET,
            "messages": [{"role": SECRET, "parts": [{"type": SECRET, "text": SECRET}]}],
        }
    )
    yield msgspec.json.encode({"text": SECRET * 200})


def test_a_worker_that_does_its_work_says_nothing() -> None:
    night = Night()
    night.metrics.count(Metric.EVENTS_CONSUMED, 300, topic="in")
    night.metrics.count(Metric.ACTIONS, 300, action="published", reason="verdict")
    night.metrics.count(Metric.ACTIONS, 2, action="refused", reason="verdict")
    night.metrics.count(Metric.ACTIONS, action="withheld", reason="duplicate")
    night.metrics.gauge_set(Metric.CONSUMER_LAG_SECONDS, 3, topic="in", partition="0")
    night.metrics.gauge_set(Metric.STANDSTILL_SECONDS, 0.5, topic="in", partition="0")
    night.model.answered()
    night.model.failed("HTTP 503", is_open=False)
    assert (night.look(), night.look(), night.watch.troubles) == ([], [], ())


def test_dead_letters_are_one_line_with_a_count_and_the_place_of_the_last() -> None:
    night = Night()
    sink = NotedSink(KeptSink(answer=True), night.letters)
    for offset in range(40, 43):
        sink.commit([letter_of(b"{", offset), OutRecord(topic="audit", key=b"k", value=b"v")], [], HERE)
    (line,) = night.look()
    assert line.startswith("3 dead letters in 10 s, the last one: malformed, ")
    assert "(in:2:42); `sluicegate dlq list --reason malformed --since 10m`" in line
    assert night.look() == []


def test_letters_of_a_transaction_that_failed_are_not_counted() -> None:
    night = Night()
    NotedSink(KeptSink(answer=False), night.letters).commit([letter_of(b"{", 1)], [], HERE)
    assert night.look() == []


def test_no_line_about_a_dead_letter_holds_what_a_user_wrote() -> None:
    for offset, value in enumerate(broken_values()):
        night = Night()
        NotedSink(KeptSink(answer=True), night.letters).commit([letter_of(value, offset)], [], HERE)
        (line,) = night.look()
        assert SECRET not in line
        assert f"(in:2:{offset})" in line


def test_a_late_guard_is_named_with_its_limit_and_the_setting_to_look_at() -> None:
    night = Night()
    night.metrics.count(Metric.STAGE_ERRORS, 12, stage="classification", reason="timeout")
    night.metrics.count(Metric.STAGE_ERRORS, 1, stage="bias", reason="crashed")
    night.metrics.count(Metric.ACTIONS, 12, action="withheld", reason="guard_failed")
    night.metrics.count(Metric.ACTIONS, 1, action="withheld", reason="deadline")
    assert night.look() == [
        "guard classification was late (limit 5 s) 12 times in 10 s; see stages.classification.timeout_s",
        "guard bias could not tell 1 time in 10 s (crashed 1)",
        "13 answers withheld in 10 s (guard_failed 12, deadline 1); `sluicegate tail --all` shows them",
    ]
    assert night.look() == []


def test_a_model_that_cannot_be_reached_is_said_until_it_answers_again() -> None:
    night = Night()
    night.model.answered()
    for _ in range(19):
        night.model.failed("ClientConnectorError: connection refused", is_open=True)
    night.model.failed("", is_open=True)  # not made, because the circuit is open
    night.metrics.count(Metric.RETRIES, 19, reason="unreachable")
    assert night.look() == [
        "drafts were asked for again 19 times in 10 s (unreachable 19)",
        (
            "model scripted (generator) at 127.0.0.1:28001 cannot be reached for 10 s (ClientConnectorError: "
            "connection refused): circuit open, events wait until their deadline (19 requests failed)"
        ),
    ]
    assert "cannot be reached for 20 s" in night.look()[0]
    night.model.answered()
    assert night.look() == [
        "model scripted (generator) at 127.0.0.1:28001 answers again, for 10 s now; it was unreachable"
    ]
    assert night.look() == []


def test_a_model_that_asks_for_rest_gets_it_and_a_line() -> None:
    night = Night()
    night.rest_left_s = 12.0
    night.model.failed("HTTP 429", is_open=True)
    (line,) = night.look()
    assert line.endswith("asked for rest: it is left alone for 12 s more (1 request failed)")
    assert night.model.health().state is ModelState.RESTING


def test_lag_and_standstill_beyond_their_bounds_name_the_worst_partition() -> None:
    night = Night()
    for partition, seconds in (("0", 61.0), ("1", 75.0), ("2", 59.0)):
        night.metrics.gauge_set(Metric.CONSUMER_LAG_SECONDS, seconds, topic="in", partition=partition)
    night.metrics.gauge_set(Metric.STANDSTILL_SECONDS, 130, topic="in", partition="2")
    found = [
        (
            "partition in/1 has an event that has waited for 75 s, and 1 other partition too; more than "
            "telemetry.lag_warning_s (60)"
        ),
        "partition in/2 has stood still for 130 s; more than telemetry.standstill_warning_s (120)",
    ]
    assert (night.look(), night.look()) == (found, found)
    assert list(night.watch.troubles) == found


def test_the_last_seconds_before_the_end_are_said_too() -> None:
    night = Night()
    night.watch.start()
    night.metrics.count(Metric.RETRIES, reason="timeout")
    night.watch.stop()
    assert night.lines == ["drafts were asked for again 1 time in 1 s (timeout 1)"]
