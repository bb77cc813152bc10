"""Producers that fail where a test says so, and what the sink did with each of them."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from kafka.errors import KafkaError

from workers.kafka.producer import RoundProducer

STEPS = ("begin", "send", "record", "flush", "offsets", "commit")
"""Where a transaction can fail; `record` is the fate of a record that was sent."""


class Producers:
    """Makes one after the other. The first fails at the steps of `script`, the others nowhere."""

    def __init__(self, script: Mapping[str, KafkaError], last_error: KafkaError | None = None) -> None:
        self._script = script
        self._last_error = last_error
        self.made: list[ScriptedProducer] = []

    def __call__(self, **_: object) -> "ScriptedProducer":
        is_first = not self.made
        self.made.append(ScriptedProducer(self._script if is_first else {}, self._last_error if is_first else None))
        return self.made[-1]


class ScriptedProducer:
    """What the sink uses of a KafkaProducer."""

    def __init__(self, script: Mapping[str, KafkaError], last_error: KafkaError | None) -> None:
        self._script = script
        self._transaction_manager = SimpleNamespace(
            producer_id_and_epoch=SimpleNamespace(producer_id=1, epoch=0), _last_error=last_error
        )
        self.unanswered: tuple[str, ...] = ()
        self.is_broken = False
        self.is_closed = False
        self.used: list[str] = []
        self.used_when_broken: list[str] = []

    def init_transactions(self) -> None:
        """As every other call, were it not for the sink's start."""

    def begin_transaction(self) -> None:
        self._reach("begin")

    def send(self, topic: str, **_: object) -> Any:
        self._reach("send")
        self.is_broken = self.is_broken or "record" in self._script
        return SimpleNamespace(is_done=True, exception=self._script.get("record"))

    def flush(self, timeout: float) -> None:
        if "record" not in self._script:  # which is known to the sink only after the flush
            self._reach("flush")

    def send_offsets_to_transaction(self, offsets: object, membership: object) -> None:
        self._reach("offsets")

    def commit_transaction(self) -> None:
        self._reach("commit")

    def too_large(self) -> None:
        """None of its records is named as too large."""

    def close(self, timeout: float) -> None:
        self.is_closed = True

    def _reach(self, step: str) -> None:
        self.used.append(step)
        if self.is_broken:
            self.used_when_broken.append(step)
        if step in self._script:
            self.is_broken = True
            raise self._script[step]


class WatchedProducer(RoundProducer):
    """The real one, which notes whether it is used after a call or a record of it has failed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.is_broken = False
        self.used_when_broken: list[str] = []
        self._sent: list[Any] = []

    def begin_transaction(self) -> None:
        self._watched("begin", super().begin_transaction)

    def send(self, *arguments: Any, **named: Any) -> Any:
        future = self._watched("send", lambda: super(WatchedProducer, self).send(*arguments, **named))
        self._sent.append(future)
        return future

    def send_offsets_to_transaction(self, *arguments: Any, **named: Any) -> None:
        self._watched("offsets", lambda: super(WatchedProducer, self).send_offsets_to_transaction(*arguments, **named))

    def commit_transaction(self) -> None:
        self._watched("commit", super().commit_transaction)

    def _watched(self, step: str, call: Callable[[], Any]) -> Any:
        self.is_broken = self.is_broken or any(future.is_done and future.failed() for future in self._sent)
        if self.is_broken:
            self.used_when_broken.append(step)
        try:
            return call()
        except KafkaError:
            self.is_broken = True
            raise
