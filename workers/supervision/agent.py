"""The port of a node: probes, metrics, status, and a drain on demand.

    GET  /livez /readyz /startupz   200 `ok`, or 503 and the reasons, one a line
    GET  /metrics                   every process of the node on one page; OpenMetrics with exemplars if asked for
    GET  /status                    what `sluicegate status` shows, as JSON
    POST /drain                     202; needs `Authorization: Bearer <agent.token>`

It runs on a thread of its own and only reads what other threads keep up to date, so it answers even while they wait.
Each connection carries one request, which must arrive within `agent.request_timeout_s`.
"""

import asyncio
import hmac
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from topology.contract.errors import SettingsError
from workers.process.connections import Connection, ConnectionBounds, Connections
from workers.settings import AgentSettings
from workers.supervision.node_state import Faults, NodeState, NodeStatus, node_status, not_live, not_ready, not_started
from workers.telemetry.openmetrics import Family, page

logger = logging.getLogger("sluicegate.agent")

BODY_BYTES_MAX: Final = 1024
"""Bound on a request's body; no request needs one."""
ANSWER_S: Final = 10.0
"""Time for an answer beyond `agent.scrape_timeout_s`: a client that does not read it is cut off."""
START_S: Final = 10.0
STOP_S: Final = 3.0


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's view of its node. Its threads call all functions; `families` may block, `state` must not."""

    state: Callable[[], NodeState]
    families: Callable[[], list[Family]]
    drain: Callable[[], None]
    version: str
    audited: str
    """The topic whose records count as published."""
    poll_max_s: float


class Agent:
    """The server of one node's port, from `start` to `stop`."""

    def __init__(self, settings: AgentSettings, node: Node) -> None:
        self._settings = settings
        self._node = node
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="agent", daemon=True)
        self.port = 0
        """The port it listens on, once started."""

    def start(self) -> None:
        """Listen. Raises SettingsError if the port cannot be used."""
        self._thread.start()
        is_up = self._started.wait(START_S)
        if self._failure is not None or not is_up:
            found = self._failure.strerror if self._failure and self._failure.strerror else "the agent did not start"
            where = f"{self._settings.host}:{self._settings.port}"
            raise SettingsError("agent.port", f"{where}: {found}", "a free port, or 0 for no agent")

    def stop(self) -> None:
        """Close the port. Waits at most STOP_S for answers under way."""
        if self._loop is not None and self._ended is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(STOP_S)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=STOP_S)
        await runner.setup()
        assert runner.server is not None
        connections = Connections(runner.server, _bounds(self._settings))
        try:
            server = await self._loop.create_server(connections, self._settings.host, self._settings.port)
        except OSError as exc:
            self._failure = exc
            self._started.set()
            await runner.cleanup()
            return
        self.port = server.sockets[0].getsockname()[1]
        logger.info("agent listens", extra={"host": self._settings.host, "port": self.port})
        self._started.set()
        await self._ended.wait()
        server.close()
        await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_once_arrived])
        application.router.add_get("/livez", self._probe(self._not_live))
        application.router.add_get("/readyz", self._probe(not_ready))
        application.router.add_get("/startupz", self._probe(not_started))
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/status", self._status)
        application.router.add_post("/drain", self._drain)
        return application

    def _not_live(self, state: NodeState) -> Faults:
        return not_live(state, self._settings.beat_max_s, self._node.poll_max_s)

    def _probe(self, faults_of: Callable[[NodeState], Faults]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            faults = faults_of(self._node.state())
            return web.Response(status=503 if faults else 200, text="\n".join(faults or ("ok",)) + "\n")

        return answer

    async def _families(self) -> list[Family]:
        """Return the node's metrics; none if they do not come in time."""
        try:
            async with asyncio.timeout(self._settings.scrape_timeout_s):
                return await asyncio.to_thread(self._node.families)
        except TimeoutError:
            logger.warning(
                "metrics left out: the actors did not answer in time",
                extra={"timeout_s": self._settings.scrape_timeout_s},
            )
            return []

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = page(await self._families(), request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _status(self, _request: web.Request) -> web.Response:
        status: NodeStatus = node_status(
            self._node.state(),
            await self._families(),
            version=self._node.version,
            audited=self._node.audited,
            beat_max_s=self._settings.beat_max_s,
            poll_max_s=self._node.poll_max_s,
        )
        return web.Response(body=msgspec.json.encode(status), content_type="application/json")

    async def _drain(self, request: web.Request) -> web.Response:
        token = self._settings.token.reveal()
        if not token:
            return web.Response(status=403, text="agent.token is not set, so nobody may drain this node\n")
        given = request.headers.get("Authorization", "")
        # Bytes of a header that are not UTF-8 are surrogates in its text, and stand for themselves again here.
        if not hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {token}".encode()):
            return web.Response(status=401, text="wrong or no token\n", headers={"WWW-Authenticate": "Bearer"})
        logger.info("drain was asked for")
        self._node.drain()
        return web.Response(status=202, text="draining\n")


@web.middleware
async def _once_arrived(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request once it has arrived whole, and close its connection."""
    try:
        await request.read()  # a body that is too long ends in 413; one that is too slow, with its connection
        connection = request.transport and request.transport.get_protocol()
        if isinstance(connection, Connection):
            connection.arrived()
        response = await handler(request)
    except web.RequestPayloadError:
        response = web.Response(status=400, text="a body that cannot be read\n")
    except web.HTTPException as exc:
        exc.force_close()
        raise
    response.force_close()
    return response


def _bounds(settings: AgentSettings) -> ConnectionBounds:
    return ConnectionBounds(
        total_max=settings.connections_max,
        per_peer_max=settings.connections_per_peer_max,
        request_timeout_s=settings.request_timeout_s,
        answer_timeout_s=settings.scrape_timeout_s + ANSWER_S,
    )
