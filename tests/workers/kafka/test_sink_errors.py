"""Every error of the library at every step of a transaction: a producer that saw one is never used again (I13)."""

import inspect
from collections.abc import Generator

import pytest
from kafka import errors as library
from msgspec.structs import replace

from tests.plugins.kafka_slot import Ends
from tests.plugins.scripted_producer import STEPS, Producers, WatchedProducer
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from workers.development.mock_broker import MockBroker
from workers.kafka.errors import Fault, KafkaRefused, OutcomeUnknown, SlotFenced, fault_of
from workers.kafka.sink import TransactionalSink
from workers.settings import KafkaSettings, TopicSettings

TOPIC = TopicSettings().audited
RECORD = OutRecord(topic=TOPIC, key=b"key", value=b"answer")
OFFSET = PartitionOffset(topic=TopicSettings().events, partition=0, offset=1)
OWNERSHIP = Ownership(generation=1, member_id="member", group_id="group", instance_id="slot")

KINDS = sorted(
    (
        kind
        for kind in vars(library).values()
        if inspect.isclass(kind) and issubclass(kind, library.KafkaError) and kind.__module__ == library.__name__
    ),
    key=lambda kind: kind.__name__,
)
CODES = sorted(code for code in {getattr(kind, "errno", None) for kind in KINDS} if code is not None and code > 0)
"""Of the protocol; errors of the client itself have none."""

FENCING = {
    library.FencedInstanceIdError,
    library.InvalidProducerEpochError,
    library.ProducerFencedError,
    library.UnreleasedInstanceIdError,
}

REQUESTS = {"Produce": 0, "AddPartitionsToTxn": 24, "AddOffsetsToTxn": 25, "TxnOffsetCommit": 28, "EndTxn": 26}

USUAL_CODES = (3, 6, 7, 14, 15, 16, 19, 22, 25, 27, 29, 30, 35, 45, 47, 48, 49, 51, 53, 59, 82, 87, 90)
"""What brokers are known to answer these requests with; the long form tries every code there is."""


def _sink(producers: Producers, ends: Ends) -> TransactionalSink:
    return TransactionalSink(KafkaSettings(), 0, exit_process=ends, make_producer=producers)


def _commit(sink: TransactionalSink) -> str:
    """How it ended, in one word."""
    try:
        return "committed" if sink.commit([RECORD], [OFFSET], OWNERSHIP) else "aborted"
    except SlotFenced:
        return "fenced"
    except KafkaRefused:
        return "refused"
    except OutcomeUnknown:
        return "unknown"


def _expected(error: library.KafkaError, step: str) -> str:
    if type(error) in FENCING:
        return "fenced"
    if step == "commit":
        return "unknown"
    return "refused" if fault_of(error) is Fault.REFUSED else "aborted"


def error_of(kind: type[library.KafkaError]) -> library.KafkaError:
    return kind({}) if kind.__name__ == "LogTruncationError" else kind()


@pytest.mark.parametrize("step", STEPS)
def test_every_error_at_every_step_leaves_its_producer_behind(step: str) -> None:
    for kind in KINDS:
        error, ends = error_of(kind), Ends()
        producers = Producers({step: error})
        sink = _sink(producers, ends)
        outcome = _commit(sink)
        assert outcome == _expected(error, step), kind
        first = producers.made[0]
        # Only what is known to have left nothing visible goes on, with a new producer; the unknown ends the process.
        assert len(producers.made) == (2 if outcome == "aborted" else 1), kind
        assert first.is_closed == (outcome == "aborted"), kind
        assert ends.codes == ([70] if outcome == "unknown" else []), kind
        if outcome == "aborted":
            assert _commit(sink) == "committed", kind
        assert first.used_when_broken == [], kind


@pytest.mark.parametrize("step", STEPS)
def test_an_error_that_only_says_that_the_producer_is_broken_is_judged_by_what_broke_it(step: str) -> None:
    ends = Ends()
    producers = Producers({step: library.KafkaError("failed before")}, last_error=library.ProducerFencedError())
    assert _commit(_sink(producers, ends)) == "fenced"
    assert (len(producers.made), ends.codes) == (1, [])


@pytest.mark.parametrize("change", [{"generation": -1}, {"member_id": ""}, {"generation": -1, "member_id": ""}])
def test_without_an_identity_the_producer_is_not_touched(change: dict[str, object]) -> None:
    """K5: brokers take an empty one from anybody, and have no way to tell that it is wrong."""
    producers = Producers({})
    sink = _sink(producers, Ends())
    for instance_id in ("slot", None):
        assert not sink.commit([RECORD], [OFFSET], replace(OWNERSHIP, instance_id=instance_id, **change))
    assert [producer.used for producer in producers.made] == [[]]


def test_the_worst_of_several_records_decides() -> None:
    producers = Producers({"record": library.NotLeaderForPartitionError()})
    sink = _sink(producers, Ends())
    first, send = producers.made[0], producers.made[0].send

    def send_fenced(topic: str, **values: object) -> object:
        future = send(topic, **values)
        if values["value"] == b"fenced":
            future.exception = library.ProducerFencedError()
        return future

    first.send = send_fenced  # pyright: ignore[reportAttributeAccessIssue]
    fenced = OutRecord(topic=TOPIC, key=b"key", value=b"fenced")
    with pytest.raises(SlotFenced):
        sink.commit([RECORD, fenced, RECORD], [OFFSET], OWNERSHIP)


@pytest.fixture(scope="module")
def broker() -> Generator[MockBroker]:
    with MockBroker() as started:
        yield started


class Watched:
    """A sink on the mock broker, its producers, and whether it asked for the end of the process."""

    def __init__(self, broker: MockBroker) -> None:
        self.settings = KafkaSettings(
            bootstrap_servers=(broker.bootstrap,),
            api_version=broker.api_version,
            request_timeout_ms=1000,
            delivery_timeout_ms=1500,
            connect_timeout_s=5,
        )
        self.producers: list[WatchedProducer] = []
        self.ends = Ends()
        self.sink = TransactionalSink(self.settings, 0, exit_process=self.ends, make_producer=self._make)

    def _make(self, **options: object) -> WatchedProducer:
        self.producers.append(WatchedProducer(**options))
        return self.producers[-1]

    def close(self) -> None:
        self.sink.close()


def _try_codes(broker: MockBroker, request: str, codes: tuple[int, ...]) -> dict[int, str]:
    """How a transaction ends whose requests of one kind are answered once with each of `codes`."""
    outcomes: dict[int, str] = {}
    watched = Watched(broker)
    for code in codes:
        broker.fail(REQUESTS[request], [code])
        outcomes[code] = _commit(watched.sink)
        assert [used for producer in watched.producers for used in producer.used_when_broken] == [], (request, code)
        assert bool(watched.ends.codes) == (outcomes[code] == "unknown"), (request, code)
        if outcomes[code] not in {"committed", "aborted"}:
            watched.close()
            watched = Watched(broker)
        # The mock's "duplicate" was never written, so that its next one is refused as out of order.
        assert "committed" in {_commit(watched.sink) for _ in range(2)}, (request, code, "not clean")
    watched.close()
    return outcomes


def _check(request: str, outcomes: dict[int, str]) -> None:
    for code, outcome in outcomes.items():
        kind = library.for_code(code)
        # An answer that can be retried is, by the library; any other is no success.
        if outcome == "committed":
            assert issubclass(kind, (library.RetriableError, library.DuplicateSequenceNumberError)), (request, code)  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
        # Where the commit was asked for nobody says that it failed; before, nobody says that it may not have.
        assert outcome not in ({"aborted", "refused"} if request == "EndTxn" else {"unknown"}), (request, code)


@pytest.mark.parametrize("request_kind", list(REQUESTS))
def test_the_real_client_given_each_usual_error_is_left_behind(broker: MockBroker, request_kind: str) -> None:
    _check(request_kind, _try_codes(broker, request_kind, USUAL_CODES))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("request_kind", list(REQUESTS))
def test_the_real_client_given_each_error_there_is_is_left_behind(broker: MockBroker, request_kind: str) -> None:
    _check(request_kind, _try_codes(broker, request_kind, tuple(CODES)))
