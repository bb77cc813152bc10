"""The world of parts k and l: a worker that is started again when it ends, its load, its model, and its answers."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
from aiohttp import web
from msgspec import Struct

from bench.overload_arm import Sample, Task
from topology.contract.events import AuditedResponse, Candidate, ConversationEvent, Message, Role, TextPart
from workers.commands.demo.scripted_model import ScriptedModel
from workers.kafka.reader import TopicReader
from workers.kafka.sender import EventSender
from workers.settings import KafkaSettings

ARM = Path(__file__).with_name("overload_arm.py")
HERE = Path(__file__).parents[1]
READY_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 15.0
WAIT_S = 0.05
POLL_S = 0.1

QUESTION = "How does a canal lock lift a boat, and why are there two gates at each end of the chamber?"
ANSWER = "A lock is a chamber with a gate at each end. Water flows in from above until both levels are the same. " * 3


class Answer(NamedTuple):
    """One answer: when it was written, in seconds since the epoch, whether it was withheld, and its reasons."""

    at_s: float
    is_withheld: bool
    reasons: tuple[str, ...]
    retry_after_ms: int


class KeptWorker:
    """A worker process of the checkout `tree`, started again whenever it ends; `exits` has the codes of those ends."""

    def __init__(self, task: Task, tree: Path) -> None:
        self._command = [sys.executable, str(ARM), msgspec.json.encode(task).decode()]
        self._tree = tree
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by __exit__
        self._is_stopping = False
        self._process: subprocess.Popen[str] | None = None
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self.exits: list[int] = []
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stopping = True
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._keeper.join()
        self._errors.close()

    def wait_assigned(self) -> None:
        """Wait until it owns partitions. Raises TimeoutError with the end of its log."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not (self.samples and self.samples[-1].is_assigned):
            if time.monotonic() >= deadline_s:
                self._errors.seek(0)
                raise TimeoutError(f"the worker owns nothing: {self._errors.read()[-4000:]}")
            time.sleep(WAIT_S)

    def _keep(self) -> None:
        while not self._is_stopping:
            self._process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                cwd=self._tree,
                env={**os.environ, "PYTHONPATH": str(self._tree)},
            )
            assert self._process.stdout is not None
            with self._process.stdout as lines:
                self.samples.extend(msgspec.json.decode(line, type=Sample) for line in lines)
            self._process.wait()
            if not self._is_stopping:
                self.exits.append(self._process.returncode)


class Answers:
    """What became visible on a topic of responses, by event id; a thread reads it. `again` counts later copies."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._reader = TopicReader(kafka, [topic], from_beginning=True)
        self._decoder = msgspec.json.Decoder(AuditedResponse)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="answers", daemon=True)
        self.of: dict[str, Answer] = {}
        self.again = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._reader.close()

    def wait_for(self, ids: Iterable[str], timeout_s: float) -> bool:
        """Wait until all of them are answered; False if that takes longer."""
        wanted, deadline_s = set(ids), time.monotonic() + timeout_s
        while not wanted <= self.of.keys():
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(WAIT_S)
        return True

    def _read(self) -> None:
        while not self._ended.is_set():
            for record in self._reader.poll(POLL_S):
                response = self._decoder.decode(record.value or b"")
                self.again += response.event_id in self.of
                is_withheld = response.action.value == "withheld"
                made = Answer(
                    record.timestamp_ms / 1000,
                    is_withheld,
                    response.reason_codes,
                    getattr(response, "retry_after_ms", 0),
                )
                self.of.setdefault(response.event_id, made)


class Load:
    """A sender of events that remembers when it sent each. `deadline_s` is that of every event, from its sending."""

    def __init__(self, kafka: KafkaSettings, topic: str, deadline_s: float) -> None:
        self._sender = EventSender(kafka, topic)
        self._deadline_s = deadline_s
        self.sent_s: dict[str, float] = {}

    def send(self, event_id: str, *, text: str = QUESTION, answer: str = ANSWER, tenant_id: str = "bench") -> None:
        """Send one event of a conversation of its own; without `answer` a model has to write one."""
        now_s = time.time()
        candidate = Candidate(parts=(TextPart(text=answer),), model="bench") if answer else None
        self._sender.send_event(
            ConversationEvent(
                event_id=event_id,
                conversation_id=event_id,
                tenant_id=tenant_id,
                messages=(Message(role=Role.USER, parts=(TextPart(text=text),)),),
                candidate=candidate,
                deadline_ms=int((now_s + self._deadline_s) * 1000),
            )
        )
        self.sent_s[event_id] = now_s

    def send_steadily(self, per_s: float, for_s: float, send: Callable[[int], None]) -> None:
        """Call `send` with 0, 1, 2, … at a rate, and return after the time."""
        began_s = time.monotonic()
        for number in range(int(per_s * for_s)):
            if (early_s := began_s + number / per_s - time.monotonic()) > 0:
                time.sleep(early_s)
            send(number)
        self._sender.flush()
        if (left_s := began_s + for_s - time.monotonic()) > 0:
            time.sleep(left_s)

    def id_in(self, partition: int, stem: str) -> str:
        """Return an id that begins with `stem` and whose conversation is in the partition."""
        return next(
            each
            for each in (f"{stem}-{n}" for n in itertools.count())
            if self._sender.partition_of(each.encode()) == partition
        )

    def flush(self) -> None:
        """Wait until everything is acknowledged."""
        self._sender.flush()

    def close(self) -> None:
        """Release the connections."""
        self._sender.close()


class PacedModel(ScriptedModel):
    """A model whose answers begin after `delay_s`, which may be changed at any time."""

    def __init__(self, delay_s: float) -> None:
        super().__init__()
        self.delay_s = delay_s

    def application(self) -> web.Application:
        """Return the application with its routes."""
        application = super().application()

        @web.middleware
        async def late(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            await asyncio.sleep(self.delay_s)
            return await handler(request)

        application.middlewares.append(late)
        return application


@contextmanager
def busy_processors() -> Generator[None]:
    """Hold every processor busy with a loop of ordinary priority while the block runs."""
    count = os.cpu_count() or 1
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


class Lived(Struct, frozen=True, kw_only=True):
    """What one run showed. Times are in seconds since the epoch; `sent_s` and `answers` go by event id.

    The cause of the overload was there from `on_s` to `off_s`. `exits` has the codes of workers that ended.
    """

    sent_s: dict[str, float]
    answers: dict[str, Answer]
    samples: list[Sample]
    on_s: float
    off_s: float
    exits: list[int]
    capacity_per_s: float
