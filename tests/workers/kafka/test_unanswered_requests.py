"""K17: requests that nobody answered are counted where they leave, and a producer that has one is not used again."""

from collections.abc import Callable
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, NodeNotReadyError, ProducerFencedError
from kafka.future import Future
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.producer import EndTxnRequest, InitProducerIdRequest, ProduceRequest

from tests.plugins.kafka_slot import Ends
from tests.plugins.scripted_producer import Producers
from topology.contract.records import OutRecord
from workers.kafka.errors import SlotFenced
from workers.kafka.library_fixes import UnansweredRequests
from workers.kafka.producer import OF_TRANSACTIONS
from workers.kafka.transactions import TransactionalProducer
from workers.settings import KafkaSettings

RECORD = OutRecord(topic="audited", key=b"key", value=b"answer")


class Client:
    """The part of a client that sends; each request waits until a test says how it ended."""

    def __init__(self) -> None:
        self._manager = self
        self.refusal: Exception | None = None
        self.sent: list[Any] = []

    def send(self, request: object, node_id: object = None) -> Any:
        future: Any = Future()
        self.sent.append(future)
        return future.failure(self.refusal) if self.refusal else future


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def requests(client: Client) -> UnansweredRequests:
    return UnansweredRequests(client, OF_TRANSACTIONS)


def test_an_answered_request_is_not_counted_whatever_the_answer(client: Client, requests: UnansweredRequests) -> None:
    client.send(EndTxnRequest(), node_id=1)
    assert requests.names == ("EndTxn",), "it is under way"
    client.sent[0].success("refused")
    assert requests.names == ()


def test_a_request_whose_connection_was_lost_stays_counted(client: Client, requests: UnansweredRequests) -> None:
    client.send(EndTxnRequest(), node_id=1)
    client.sent[0].failure(KafkaConnectionError())
    client.send(EndTxnRequest(), node_id=1)
    client.sent[1].success("done")
    assert requests.names == ("EndTxn",), "the answer was that of the second copy"


def test_a_request_that_never_left_is_not_counted(client: Client, requests: UnansweredRequests) -> None:
    client.refusal = NodeNotReadyError()
    client.send(ProduceRequest(), node_id=1)
    assert requests.names == ()


def test_requests_of_other_kinds_are_not_counted(client: Client, requests: UnansweredRequests) -> None:
    client.send(MetadataRequest())
    assert requests.names == ()


def test_each_kind_is_named_once(client: Client, requests: UnansweredRequests) -> None:
    for request in (ProduceRequest(), InitProducerIdRequest(), ProduceRequest()):
        client.send(request)
    assert requests.names == ("InitProducerId", "Produce")


@pytest.fixture
def producers() -> Producers:
    return Producers({})


@pytest.fixture
def open_holder(producers: Producers) -> Callable[[], TransactionalProducer]:
    def make() -> TransactionalProducer:
        return TransactionalProducer(KafkaSettings(), "slot", exit_process=Ends(), make_producer=producers)

    return make


def test_a_producer_with_an_unanswered_request_is_replaced_before_the_next_transaction(
    producers: Producers, open_holder: Callable[[], TransactionalProducer]
) -> None:
    holder = open_holder()
    assert holder.commit([RECORD], []) is None
    producers.made[0].unanswered = ("EndTxn",)
    used = list(producers.made[0].used)
    assert holder.commit([RECORD], []) is None
    assert len(producers.made) == 2
    assert (producers.made[0].used, producers.made[0].is_closed) == (used, True)


def test_a_producer_whose_requests_were_all_answered_is_kept(
    producers: Producers, open_holder: Callable[[], TransactionalProducer]
) -> None:
    holder = open_holder()
    assert [holder.commit([RECORD], []) for _ in range(3)] == [None] * 3
    assert len(producers.made) == 1


@pytest.mark.parametrize(("unanswered", "says"), [(("InitProducerId",), True), (("EndTxn",), False), ((), False)])
def test_a_lost_slot_names_the_own_request_that_may_have_taken_it(unanswered: tuple[str, ...], says: bool) -> None:
    producers = Producers({"flush": ProducerFencedError()})
    holder = TransactionalProducer(KafkaSettings(), "slot", exit_process=Ends(), make_producer=producers)
    holder.renew()
    producers.made[-1].unanswered = unanswered
    holder.renew()
    fenced = holder._fenced(ProducerFencedError())  # pyright: ignore[reportPrivateUsage]
    assert isinstance(fenced, SlotFenced)
    assert ("InitProducerId that came late" in str(fenced)) == says
