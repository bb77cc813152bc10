"""A transactional KafkaProducer in virtual time, as far as `transactions.py` uses it, with the library's defects.

K1: a commit succeeds although a record was given up. K2: offsets of an aborted transaction go with the next one. K3: a
commit succeeds although the producer got a new epoch meanwhile and its transaction is gone. K4: only the calls for
records and for the identity have a timeout. K17: what is not answered is sent again; its first copy may arrive late.
"""

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any, Protocol

from kafka import errors
from kafka.structs import OffsetAndMetadata, TopicPartition

from tests.simulation.census import Place
from tests.simulation.coordinator import Coordinator
from tests.simulation.scheduling import Process, Scheduler
from tests.simulation.threads import FOREVER_S

BACKOFF_S = 0.01


class ProducerWorld(Protocol):
    """What a producer needs of the world that it lives in."""

    rng: Random
    scheduler: Scheduler
    is_strict: bool

    @property
    def broker(self) -> Coordinator[Any]:
        """Return the broker, whose output is looked at when it becomes visible."""
        ...

    def point(self, name: str, process: Process) -> str | None:
        """Let others go on, and perhaps something go wrong; return a fault that the call itself has to show."""
        ...

    def written(self, topic: str, value: bytes, key: bytes | None, partition: int | None) -> tuple[str, Place]:
        """Return what stands for a record in the broker's log."""
        ...


class Future:
    """Of one record; `exception` is None where it was acknowledged."""

    __slots__ = ("exception", "is_done", "place", "topic")

    def __init__(self, topic: str, place: Place) -> None:
        self.topic = topic
        self.place = place
        self.is_done = False
        self.exception: errors.KafkaError | None = None


class Producer:
    def __init__(self, world: ProducerWorld, process: Process, **options: Any) -> None:
        self._world = world
        self._process = process
        self._scheduler = world.scheduler
        self._broker = world.broker
        self._id: str = options["transactional_id"]
        self._block_s: float = options["max_block_ms"] / 1000
        self._delivery_s: float = options["delivery_timeout_ms"] / 1000
        self._identity = SimpleNamespace(producer_id=-1, epoch=-1)
        self._transaction_manager = SimpleNamespace(producer_id_and_epoch=self._identity, _last_error=None)
        self._sender = SimpleNamespace(force_close=_nothing, join=_nothing)
        self._waiting: list[Future] = []
        self._offsets: dict[TopicPartition, tuple[int, str]] = {}
        self._is_broken = False
        """In the library's error state: refuses everything but an abort."""
        self._has_failed = False
        """An error was seen, whether the library takes it for one or not."""
        self._is_begun = False
        self.unanswered: tuple[str, ...] = ()

    def init_transactions(self) -> None:
        deadline_s = self._scheduler.now_s + self._block_s
        action = self._world.point("init", self._process)
        is_lost = action == "lost_ack"
        self._send(action, "InitProducerId", lambda: self._broker.init(self._id))
        while True:
            if not self._broker.is_down:
                try:
                    found = self._broker.init(self._id)
                    if not is_lost:
                        break
                    is_lost = False
                except errors.ConcurrentTransactionsError:
                    pass
            if self._scheduler.now_s >= deadline_s:
                raise errors.KafkaTimeoutError
            self._scheduler.sleep(BACKOFF_S)
        self._world.point("init_answer", self._process)
        self._identity = SimpleNamespace(producer_id=found[0], epoch=found[1])
        self._transaction_manager.producer_id_and_epoch = self._identity

    def begin_transaction(self) -> None:
        self._use()
        if self._is_begun:
            raise errors.IllegalStateError("a transaction is open")
        self._is_begun = True

    def send(
        self,
        topic: str,
        *,
        value: bytes,
        key: bytes | None,
        headers: list[tuple[str, bytes]],
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Future:
        self._use()
        future = Future(*self._world.written(topic, value, key, partition))
        self._waiting.append(future)
        return future

    def flush(self, timeout: float) -> None:
        self._deliver("flush", self._scheduler.now_s + min(timeout, self._delivery_s))
        self._world.point("flush_answer", self._process)

    def send_offsets_to_transaction(self, offsets: dict[TopicPartition, OffsetAndMetadata], metadata: Any) -> None:
        self._use()
        self._offsets.update({at: (to.offset, to.metadata) for at, to in offsets.items()})
        identity = (metadata.generation_id, metadata.member_id, metadata.group_instance_id)
        action = self._world.point("offsets", self._process)
        is_lost = action in {"lost_ack", "doubled"}
        epoch = self._identity.epoch
        keyed = {self._broker.key_of(metadata.group_id, at): to for at, to in self._offsets.items()}
        self._send(action, "TxnOffsetCommit", lambda: self._broker.repeat_offsets(self._id, epoch, keyed, identity))
        while True:
            self._wait_for_broker()
            try:
                self._broker.commit_offsets(self._id, epoch, metadata.group_id, self._offsets, identity)
                if not is_lost:
                    break
                is_lost = False
            except errors.ConcurrentTransactionsError:
                pass
            except (errors.UnknownMemberIdError, errors.IllegalGenerationError) as exc:
                raise self._broken(errors.CommitFailedError(str(exc))) from exc
            except (errors.FencedInstanceIdError, errors.ProducerFencedError) as exc:
                raise self._broken(exc) from exc
            self._scheduler.sleep(BACKOFF_S)
        self._offsets = {}
        self._world.point("offsets_answer", self._process)

    def commit_transaction(self) -> None:
        self._use()
        if self._waiting:
            # What was not flushed is sent first; what of it is given up is nobody's concern (K1).
            self._deliver("flush", self._scheduler.now_s + self._delivery_s)
        action = self._world.point("commit", self._process)
        epoch = self._identity.epoch
        self._send(action, "EndTxn", lambda: self._broker.end(self._id, epoch, is_committed=True))
        if action == "commit_hangs":
            self._lose_answer()
        self._wait_for_broker()
        try:
            if action == "epoch_bump":
                epoch = self._broker.bump(self._id, epoch)
                self._identity = SimpleNamespace(producer_id=self._identity.producer_id, epoch=epoch)
                self._transaction_manager.producer_id_and_epoch = self._identity
            else:
                self._broker.end(self._id, epoch, is_committed=True)
        except errors.ProducerFencedError as exc:
            raise self._broken(exc) from exc
        if action == "commit_answer_lost":
            self._lose_answer()
        self._is_begun = False
        self._world.point("commit_answer", self._process)

    def abort_transaction(self) -> None:
        """What was sent of it stays in the log, aborted; its offsets stay in this producer (K2)."""
        self._wait_for_broker()
        while self._broker.is_ending(self._id):
            self._scheduler.sleep(BACKOFF_S)
        self._broker.end(self._id, self._identity.epoch, is_committed=False)
        self._waiting = []
        self._is_begun = self._is_broken = False
        self._transaction_manager._last_error = None

    def close(self, timeout: float) -> None:
        self._waiting = []
        self._has_failed = True

    def _deliver(self, point: str, deadline_s: float) -> None:
        """Send what waits in two requests; what is not acknowledged by the deadline fails, and may be in the log."""
        futures, self._waiting = self._waiting, []
        action = self._world.point(point, self._process)
        epoch = self._identity.epoch
        if futures:
            self._send(action, "AddPartitionsToTxn", lambda: self._broker.join(self._id, epoch))
        half = self._world.rng.randrange(len(futures) + 1) if futures else 0
        for part in (futures[:half], futures[half:]):
            if part:
                self._produce(part, deadline_s, action)
                self._world.point("send", self._process)

    def _produce(self, futures: list[Future], deadline_s: float, action: str | None) -> None:
        while self._broker.is_down or self._broker.is_ending(self._id):
            if self._scheduler.now_s >= deadline_s:
                return self._give_up(futures)
            self._scheduler.sleep(BACKOFF_S)
        if action == "expiry":
            lost = set(self._world.rng.sample(futures, self._world.rng.randint(1, len(futures))))
            self._give_up([future for future in futures if future in lost])
            futures = [future for future in futures if future not in lost]
        try:
            self._broker.produce(self._id, self._identity.epoch, [(each.topic, each.place) for each in futures])
        except errors.ProducerFencedError:
            self._fail(futures, self._broken(errors.InvalidProducerEpochError()))
            return None
        if action == "lost_ack":
            return self._give_up(futures)
        for future in futures:
            future.is_done = True
        return None

    def _send(self, action: str | None, name: str, late: Callable[[], object]) -> None:
        """Note a request whose connection is cut, if one is; its first copy arrives at once, late, or never."""
        if action in {"late_copy", "doubled", "lost_ack", "commit_hangs"}:
            self.unanswered = (*self.unanswered, name)
        if action == "doubled":
            self._broker.arrive(late)
        if action in {"late_copy", "commit_hangs"}:
            self._broker.arrive_late(late)

    def _give_up(self, futures: list[Future]) -> None:
        """As the library does, without any consequence for the transaction (K1)."""
        self._fail(futures, errors.KafkaTimeoutError())

    def _fail(self, futures: list[Future], error: errors.KafkaError) -> None:
        for future in futures:
            future.is_done, future.exception = True, error
        self._has_failed = self._has_failed or bool(futures)

    def _broken(self, error: errors.KafkaError) -> errors.KafkaError:
        self._is_broken = self._has_failed = True
        self._transaction_manager._last_error = error
        return error

    def _lose_answer(self) -> None:
        """The library waits for ever (K4), or says that something went wrong, which may be anything (K8)."""
        if self._world.rng.random() < 0.5:
            self._scheduler.sleep(FOREVER_S)
        raise self._broken(errors.KafkaError("unexpected answer"))

    def _use(self) -> None:
        if self._has_failed and self._world.is_strict:
            self._scheduler.fail("I13: a producer that saw an error is used again")
        if self._is_broken:
            raise errors.KafkaError("Cannot execute transactional method because we are in an error state")

    def _wait_for_broker(self) -> None:
        while self._broker.is_down or self._broker.is_ending(self._id):
            self._scheduler.sleep(BACKOFF_S)


def _nothing(*_: object) -> None:
    """A thread that is not there has nothing to end."""
