"""The HTTP side of the door.

    POST /v1/chat/completions   an answer, checked and audited
    POST /v1/checks             judges an answer that was made elsewhere
    GET  /v1/models             what `model` may be
    GET  /livez /readyz         200 `ok`, or 503 and the reasons, one a line

On a port of its own, which asks for no key, `/livez`, `/readyz` and

    GET  /metrics               the page for Prometheus

Each connection carries one request, which must arrive within `door.request_timeout_s`
(`workers/process/connections.py`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanKind, Tracer, set_span_in_context

from topology.contract.codec import RecordLimits
from topology.contract.headers import trace_carrier, trace_headers
from topology.contract.records import Headers
from topology.ports import Clock
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.span_names import DOOR
from topology.telemetry.trace_context import carrier, span_context
from workers.door.asking import Asking, Question
from workers.door.callers import Admissions, Callers
from workers.door.flights import Placed
from workers.door.identity import Digests
from workers.door.outcomes import EVENT_HEADER, Reply, completed, judged, late, refused
from workers.door.questions import Call, question_of
from workers.door.refusals import FAILED, Refusal
from workers.door.requests import Asked, check_asked, completion_asked
from workers.door.segments.chunks import Chunks
from workers.door.segments.live import Live, TooFarBehind
from workers.process.connections import Connection
from workers.settings import DoorSettings
from workers.telemetry.openmetrics import Family, page

logger = logging.getLogger("sluicegate.door")

COMPLETIONS: Final = "/v1/chat/completions"
CHECKS: Final = "/v1/checks"
MODELS: Final = "/v1/models"
SERVED: Final = f"a door serves POST {COMPLETIONS}, POST {CHECKS} and GET {MODELS}"
_JSON: Final = "application/json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Parts(Struct, frozen=True, kw_only=True):
    """Everything that the door's handlers use. `not_ready` and `families` return at once."""

    settings: DoorSettings
    limits: RecordLimits
    callers: Callers
    admissions: Admissions
    digests: Digests
    asking: Asking
    not_ready: Callable[[], tuple[str, ...]]
    families: Callable[[], list[Family]]
    metrics: Instruments
    tracer: Tracer
    clock: Clock


class Door:
    """The handlers of one door."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settings = parts.settings

    def application(self) -> web.Application:
        """Return the application to be served."""
        application = web.Application(client_max_size=self._settings.body_bytes_max, middlewares=[self._in_form])
        router = application.router
        router.add_post(COMPLETIONS, self._completion)
        router.add_post(CHECKS, self._check)
        router.add_get(MODELS, self._models)
        router.add_get(MODELS + "/{model}", self._model)
        router.add_get("/livez", self._livez)
        router.add_get("/readyz", self._readyz)
        if self._settings.cors_origin:
            router.add_route("OPTIONS", "/v1/{rest:.*}", self._preflight)
        return application

    def operations(self) -> web.Application:
        """Return the application of the port for those who watch the door."""
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        return application

    @web.middleware
    async def _in_form(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer what goes wrong in OpenAI's form; every answer ends its connection."""
        try:
            response = await handler(request)
        except Refusal as exc:
            response = self._response(refused(exc))
        except web.HTTPException as exc:
            text = f"{exc.reason}: {SERVED}"
            response = self._response(refused(Refusal(exc.status, "not_served", text, None)))
        except web.RequestPayloadError:
            response = self._response(refused(Refusal(400, "invalid_body", "the body cannot be read")))
        except Exception as exc:
            # A bug must not end a connection without an answer; what the client sent stays out of the log.
            logger.exception("a request failed", extra={"error": type(exc).__name__})
            failed = Refusal(500, "internal_error", "the door failed; its log says more", None, FAILED)
            response = self._response(refused(failed))
        _arrived(request)
        self._count(request, response.status)
        if not response.prepared:
            response.force_close()
        return response

    def _count(self, request: web.Request, status: int) -> None:
        path = request.match_info.route.resource
        known = path.canonical if path is not None else "other"
        self._parts.metrics.count(Metric.DOOR_REQUESTS, route=known, status=str(status))

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        def read(body: bytes) -> Asked:
            return completion_asked(body, self._settings.models)

        return await self._asked(
            request, read, lambda placed, asked: completed(placed.answered, _made_s(placed), asked)
        )

    async def _check(self, request: web.Request) -> web.StreamResponse:
        return await self._asked(request, check_asked, lambda placed, _: judged(placed.answered, _made_s(placed)))

    async def _asked(
        self, request: web.Request, read: Callable[[bytes], Asked], told: Callable[[Placed, Asked], Reply]
    ) -> web.StreamResponse:
        """Answer a request for an event. The answer is made from the response alone."""
        parts, began_s = self._parts, self._parts.clock.monotonic_s()
        self._require_short_headers(request)
        name, caller = parts.callers.of(request.headers.get("Authorization", ""))
        parts.admissions.enter(name, caller)
        try:
            body = await self._body(request, caller.body_bytes_max)
            call = Call(path=request.path, body=body, headers=request.headers)
            asked = read(body)
            client = trace_carrier(_as_record_headers(request))
            span = parts.tracer.start_span(DOOR, context=_parent(client), kind=SpanKind.SERVER)
            try:
                trace: Headers = trace_headers({**client, **carrier(span.get_span_context())})
                question = question_of(
                    call, asked, name, caller, parts.digests, parts.limits, trace, streams=self._settings.streams
                )
                is_live = self._settings.streams and asked.is_stream
                made = await (self._live if is_live else self._whole)(request, question, asked, told)
            finally:
                span.end()
        finally:
            parts.admissions.leave(name)
        parts.metrics.observe(Metric.DOOR_DURATION, parts.clock.monotonic_s() - began_s)
        return made

    async def _whole(
        self, request: web.Request, question: Question, asked: Asked, told: Callable[[Placed, Asked], Reply]
    ) -> web.StreamResponse:
        """Answer once the whole answer is there."""
        reply = await self._ended(self._parts.asking.ask(question), question, asked, told)
        return await self._streamed(request, reply) if reply.chunks else self._response(reply)

    async def _live(
        self, request: web.Request, question: Question, asked: Asked, told: Callable[[Placed, Asked], Reply]
    ) -> web.StreamResponse:
        """Stream an answer while it is made. Until there is text, everything ends as without a stream."""
        live = Live()
        answer = asyncio.ensure_future(self._parts.asking.ask(question, live))
        try:
            await live.until_text(answer)
            if not live.has_begun:
                reply = await self._ended(answer, question, asked, told)
                return await self._streamed(request, reply) if reply.chunks else self._response(reply)
            chunks = Chunks(asked, live, question.event[1], self._parts.clock.now_ms() // 1000)
            response = await self._opened(request, 200, {EVENT_HEADER: question.event[1]})
            try:
                await live.write(response.write, chunks.role())
                await live.send(answer, chunks.delta, response.write)
                await live.write(response.write, await _end_of(answer, chunks))
                await response.write_eof()
            except TooFarBehind:
                self._parts.metrics.count(Metric.DOOR_CLOSED)
                if request.transport is not None:
                    request.transport.abort()
            return response
        finally:
            answer.cancel()

    async def _ended(
        self,
        answer: Awaitable[Placed],
        question: Question,
        asked: Asked,
        told: Callable[[Placed, Asked], Reply],
    ) -> Reply:
        try:
            return told(await answer, asked)
        except TimeoutError:
            return late(question.event[1])

    def _require_short_headers(self, request: web.Request) -> None:
        length = sum([len(name) + len(value) for name, value in request.raw_headers])
        if length > self._settings.header_bytes_max:
            raise Refusal(431, "headers_too_long", f"at most {self._settings.header_bytes_max} bytes of headers")

    async def _body(self, request: web.Request, bytes_max: int) -> bytes:
        longest = min(bytes_max, self._settings.body_bytes_max)
        too_long = Refusal(413, "request_too_large", f"at most {longest} bytes")
        if (request.content_length or 0) > longest:
            raise too_long
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_long from None
        if len(body) > longest:
            raise too_long
        _arrived(request)
        return body

    async def _models(self, request: web.Request) -> web.Response:
        self._parts.callers.of(request.headers.get("Authorization", ""))
        found = [_model(name) for name in self._settings.models]
        return self._response(Reply(status=200, body=msgspec.json.encode({"object": "list", "data": found})))

    async def _model(self, request: web.Request) -> web.Response:
        self._parts.callers.of(request.headers.get("Authorization", ""))
        name = request.match_info["model"]
        if name not in self._settings.models:
            raise Refusal(404, "model_not_found", "there is no such model here; GET /v1/models lists them", "model")
        return self._response(Reply(status=200, body=msgspec.json.encode(_model(name))))

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        faults = self._parts.not_ready()
        return web.Response(status=503 if faults else 200, text="\n".join(faults or ("ok",)) + "\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        body, content_type = page(self._parts.families(), request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _preflight(self, _request: web.Request) -> web.Response:
        allowed = {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "*, Authorization",
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers={**self._cors(), **allowed})

    async def _opened(self, request: web.Request, status: int, told: Mapping[str, str]) -> web.StreamResponse:
        """Return a stream whose headers were sent."""
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", **self._cors(), **told}
        response = web.StreamResponse(status=status, headers=headers)
        response.force_close()
        await response.prepare(request)
        return response

    async def _streamed(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = await self._opened(request, reply.status, reply.headers)
        for chunk in reply.chunks:
            await response.write(chunk)
        await response.write_eof()
        return response

    def _response(self, reply: Reply) -> web.Response:
        headers = {"Content-Type": _JSON, **self._cors(), **reply.headers}
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    def _cors(self) -> dict[str, str]:
        origin = self._settings.cors_origin
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin else {}


async def _end_of(answer: "asyncio.Future[Placed]", chunks: Chunks) -> bytes:
    """Return the end of a stream that has begun, however its answer ends."""
    try:
        return chunks.end((await answer).answered)
    except TimeoutError:
        return chunks.broken_off(Refusal(504, "deadline", "no answer came before the deadline", None, FAILED))
    except Refusal as exc:
        return chunks.broken_off(exc)


def _arrived(request: web.Request) -> None:
    """Tell the connection that its request is complete, or that the rest of it is not wanted."""
    connection = request.transport and request.transport.get_protocol()
    if isinstance(connection, Connection):
        connection.arrived()


def _as_record_headers(request: web.Request) -> Headers:
    return tuple([(name, value.encode("utf-8", "replace")) for name, value in request.headers.items()])


def _made_s(placed: Placed) -> int:
    return placed.appended_ms // 1000


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "sluicegate"}


def _parent(client: dict[str, str]) -> Context:
    """Return the context of the client's span; an empty one if it sent none."""
    found = span_context(client)
    return Context() if found is None else set_span_in_context(NonRecordingSpan(found), Context())
