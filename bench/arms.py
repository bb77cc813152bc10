"""Arms of a measurement: modules in processes of their own, whose output is read line by line; and their load."""

import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec
from kafka.admin import KafkaAdminClient, NewTopic
from msgspec import Struct

from workers.kafka.client import admin_options
from workers.kafka.sender import EventSender
from workers.settings import KafkaSettings

Line = TypeVar("Line", bound=Struct)
Say = Callable[[str], None]

PARTITIONS = 6
READY_TIMEOUT_S = 300.0
WAIT_S = 0.01
PACE_S = 0.005
"""Records of so long a time are sent at once."""

TOPIC_CONFIGS = {
    "message.timestamp.type": "LogAppendTime",  # when a record was appended, by the broker's clock
    "segment.bytes": "33554432",
    "retention.bytes": "134217728",
}


class Arm(Generic[Line]):
    """A process of `module` with `task`, ended with the block; `lines` has its output so far, decoded as `kind`."""

    def __init__(self, module: str, task: Struct, kind: type[Line] | Any) -> None:
        self._module = module
        self._decoder = msgspec.json.Decoder(kind)
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by __exit__
        self.lines: list[Line] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, msgspec.json.encode(task).decode()],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._errors.close()

    def wait_until(self, holds: Callable[[], bool], timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until `holds`. Raise RuntimeError if the arm ends before, TimeoutError after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            if self._process.poll() is not None and not self._listener.is_alive() and not holds():
                raise RuntimeError(self._failure())
            if time.monotonic() >= deadline_s:
                raise TimeoutError(f"{self._module}: not within {timeout_s:.0f} s; {self._failure()}")
            time.sleep(WAIT_S)

    def require_running(self) -> None:
        """Raise RuntimeError if it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(self._failure())

    def wait_ended(self, timeout_s: float) -> Line:
        """Return its last line. Raise RuntimeError if it failed, TimeoutError after `timeout_s`."""
        self.wait_until(lambda: self._process.poll() is not None and not self._listener.is_alive(), timeout_s)
        if self._process.returncode != 0 or not self.lines:
            raise RuntimeError(self._failure())
        return self.lines[-1]

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.lines.append(self._decoder.decode(line))

    def _failure(self) -> str:
        self._errors.seek(0)
        return f"{self._module} ended with {self._process.poll()}:\n{self._errors.read()[-4000:]}"


def new_topics(bootstrap: str, *suffixes: str) -> list[str]:
    """Create topics of PARTITIONS partitions whose names begin alike."""
    kafka = KafkaSettings(bootstrap_servers=(bootstrap,))
    stem = f"bench-{uuid.uuid4().hex[:12]}-"
    admin: Any = KafkaAdminClient(**admin_options(kafka))
    names = [stem + suffix for suffix in suffixes]
    admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=TOPIC_CONFIGS) for name in names])
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not _are_led(admin, names):
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"no leaders of {names} within {READY_TIMEOUT_S:.0f} s")
        time.sleep(WAIT_S)
    admin.close()
    return names


def _are_led(admin: Any, names: list[str]) -> bool:
    described = admin.describe_topics(names)
    return all(
        len(topic["partitions"]) == PARTITIONS and all(each["leader_id"] >= 0 for each in topic["partitions"])
        for topic in described
    )


def send(bootstrap: str, topic: str, records: Iterable[tuple[bytes, bytes]], *, per_s: float = 0.0) -> None:
    """Write (key, value) pairs, `per_s` of them a second, or as fast as they come if that is 0."""
    sender = EventSender(KafkaSettings(bootstrap_servers=(bootstrap,)), topic)
    started_s = time.monotonic()
    for index, (key, value) in enumerate(records):
        if per_s and (early_s := started_s + index / per_s - time.monotonic()) > 0:
            time.sleep(max(early_s, PACE_S))
        sender.send_raw(key, value)
    sender.flush()
    sender.close()
