"""One door as a process: connected to Kafka, listening, and stopped in order."""

import asyncio
import logging
import os
import ssl
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from typing import Final, TypeVar

from aiohttp import web

from topology.contract.codec import RecordLimits
from topology.contract.errors import SettingsError
from topology.ports import Clock
from workers.door.asking import LATE_S, AskBounds, Asking, Link, Threads
from workers.door.callers import Admissions, Callers
from workers.door.identity import Digests
from workers.door.index import AnswerIndex
from workers.door.reading import KafkaLink
from workers.door.segments.shown import ShownTexts
from workers.door.server import Door, Parts
from workers.process.clock import SystemClock
from workers.process.connections import ConnectionBounds, Connections
from workers.settings import Settings
from workers.telemetry.setup import Telemetry

logger = logging.getLogger("sluicegate.door")

T = TypeVar("T")

SENDING_THREADS: Final = 16
"""Threads for sends, which block while the brokers are away."""
READING_THREADS: Final = 16
"""Threads that wait for answers which are read again: as many are read at once."""
KEYS_LOOK_S: Final = 2.0
ANSWER_S: Final = 10.0
"""Time for a client to read its answer, beyond the deadline."""
OVERSHOOT_BYTES_MAX: Final = 4 * 1024 * 1024
"""What may arrive of a body that is too long before its request is answered 413; whatever follows is dropped."""
STOP_S: Final = 5.0


def open_kafka_link(settings: Settings, clock: Clock) -> Link:
    """Connect a door to Kafka. Raises KafkaUnavailable and KafkaRefused."""
    return KafkaLink(settings.kafka, settings.topics, settings.door.replay_s, clock)


OpenLink = Callable[[Settings, Clock], Link]


class RunningDoor:
    """A door from `serve` to `stop`. `port` is the one it listens on, once `is_up` is set."""

    def __init__(self, settings: Settings, telemetry: Telemetry, open_link: OpenLink = open_kafka_link) -> None:
        if not settings.door.digest_key:
            raise SettingsError(
                "door.digest_key", "", "a key, the same for all doors, or door.digest_key_file its path"
            )
        if not settings.door.keys_file:
            raise SettingsError("door.keys_file", "", "a file of API keys; docs/door.md shows one")
        self._settings = settings
        self._telemetry = telemetry
        self._open_link = open_link
        self._callers = Callers(settings.door.keys_file)
        self._clock = SystemClock()
        self._admissions = Admissions(self._clock.monotonic_s)
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_stop = threading.Event()
        self.is_up = threading.Event()
        self.port = 0

    def stop(self) -> None:
        """End `serve`, from any thread."""
        self._asked_to_stop.set()
        if self._loop is not None and self._ended is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)

    async def serve(self) -> None:
        """Serve until `stop`. Raises what `open_link` raises."""
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        link = await asyncio.to_thread(self._open_link, self._settings, self._clock)
        threads = Threads(ThreadPoolExecutor(SENDING_THREADS, "door"), ThreadPoolExecutor(READING_THREADS, "door-kept"))
        metrics, shown = self._telemetry.instruments, self._shown()
        asking = Asking(link, self._index(), self._bounds(), self._clock, threads, metrics, shown)
        link.start(self._on_loop(asking.take), None if shown is None else self._on_loop(asking.take_stream))
        watching = self._loop.create_task(self._watch_keys())
        try:
            await self._listen(self._door(asking, link))
        finally:
            watching.cancel()
            for pool in threads:
                pool.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(link.close)

    async def _listen(self, door: Door) -> None:
        assert self._ended is not None
        own = self._settings.door
        async with AsyncExitStack() as stack:
            if own.metrics_port:
                bounds = self._operations_bounds()
                with _named("door.metrics_port", own.metrics_port):
                    await self._open(stack, door.operations(), own.metrics_port, bounds, None)
            bounds, tls = self._connection_bounds(), self._tls()
            with _named("door.port", own.port):
                self.port = await self._open(stack, door.application(), own.port, bounds, tls)
            logger.info("door listens", extra={"host": own.host, "port": self.port})
            self.is_up.set()
            if not self._asked_to_stop.is_set():
                await self._ended.wait()

    async def _open(
        self,
        stack: AsyncExitStack,
        application: web.Application,
        port: int,
        bounds: ConnectionBounds,
        tls: ssl.SSLContext | None,
    ) -> int:
        """Listen, until `stack` ends, and return the port."""
        assert self._loop is not None
        own = self._settings.door
        runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=STOP_S,
            handler_cancellation=True,  # a client that went away is not waited for
            max_field_size=own.header_bytes_max,
            lingering_time=1.0,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        assert runner.server is not None
        server = await self._loop.create_server(Connections(runner.server, bounds), own.host, port, ssl=tls)
        stack.callback(server.close)
        found: int = server.sockets[0].getsockname()[1]
        return found

    def _door(self, asking: Asking, link: Link) -> Door:
        settings, limits = self._settings, self._settings.limits
        return Door(
            Parts(
                settings=settings.door,
                limits=RecordLimits(
                    event_bytes_max=limits.event_bytes_max,
                    dead_letter_bytes_max=limits.dead_letter_bytes_max,
                    nesting_depth_max=limits.nesting_depth_max,
                ),
                callers=self._callers,
                admissions=self._admissions,
                digests=Digests(settings.door.digest_key.reveal().encode()),
                asking=asking,
                not_ready=link.not_ready,
                families=self._telemetry.families,
                metrics=self._telemetry.instruments,
                tracer=self._telemetry.tracer,
                clock=self._clock,
            )
        )

    def _on_loop(self, take: Callable[[list[T]], None]) -> Callable[[list[T]], None]:
        loop = self._loop
        assert loop is not None

        def deliver(read: list[T]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(take, read)

        return deliver

    async def _watch_keys(self) -> None:
        while True:
            await asyncio.sleep(KEYS_LOOK_S)
            await asyncio.to_thread(self._callers.refresh)
            self._admissions.keep_only(self._callers.names)

    def _index(self) -> AnswerIndex:
        return AnswerIndex(self._settings.door.index_max, round(self._settings.door.replay_s * 1000))

    def _shown(self) -> ShownTexts | None:
        own = self._settings.door
        return ShownTexts(own.streams_bytes_max, round(own.replay_s * 1000)) if own.streams else None

    def _bounds(self) -> AskBounds:
        own = self._settings.door
        return AskBounds(deadline_s=own.deadline_s, grace_s=own.disconnect_grace_s, waiting_max=own.waiting_max)

    def _connection_bounds(self) -> ConnectionBounds:
        own = self._settings.door
        return ConnectionBounds(
            total_max=own.connections_max,
            per_peer_max=own.connections_per_peer_max,
            request_timeout_s=own.request_timeout_s,
            answer_timeout_s=own.deadline_s + LATE_S + ANSWER_S,
            request_bytes_max=own.body_bytes_max + own.header_bytes_max + OVERSHOOT_BYTES_MAX,
        )

    def _operations_bounds(self) -> ConnectionBounds:
        own = self._settings.agent
        return ConnectionBounds(
            total_max=own.connections_max,
            per_peer_max=own.connections_per_peer_max,
            request_timeout_s=own.request_timeout_s,
            answer_timeout_s=ANSWER_S,
        )

    def _tls(self) -> ssl.SSLContext | None:
        own = self._settings.door
        if not own.tls_certfile:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(own.tls_certfile, own.tls_keyfile)
        except (OSError, ssl.SSLError) as exc:
            raise SettingsError(
                "door.tls_certfile", own.tls_certfile, f"a certificate and its key ({exc.strerror})"
            ) from exc
        return context


@contextmanager
def _named(key: str, port: int) -> Generator[None]:
    """Name the setting of a port that cannot be listened at."""
    try:
        yield
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else "door.host has no such address"
        raise SettingsError(key, str(port), f"a port that is free at door.host ({why})") from exc
