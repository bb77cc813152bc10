"""An OpenAI-compatible server with prepared answers, so that no answer depends on chance.

    python -m workers.commands.demo.scripted_model --port 8001

The model `scripted` follows each known question's own script; a model that is named after a kind of script
(`stubborn`, `cut`, …) follows that for every question.
"""

import argparse
import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager, suppress

import msgspec
from aiohttp import web
from msgspec import Struct

from serving.generation.prompts import CONTINUE
from workers.commands.demo.scripts import Script, ScriptKind, sample_scripts
from workers.commands.demo.story.examples import example_scripts

MODEL_NAME = "scripted"
MODELS = (MODEL_NAME, *(kind.value for kind in ScriptKind))

FEEDBACK_LINE = "[mend]"
"""The line of the system message after which `serving.generation.prompts` says what a further draft must correct."""

REQUEST_BYTES_MAX = 16 * 1024 * 1024
RECEIVED_MAX = 10_000
"""The most requests that are remembered; older ones are forgotten."""
START_TIMEOUT_S = 10.0

_GENERIC = Script(question="")


class Turn(Struct, frozen=True, kw_only=True):
    """One message of a request."""

    role: str
    content: str


class ChatRequest(Struct, frozen=True, kw_only=True):
    """The parts of a request that matter here."""

    model: str
    messages: tuple[Turn, ...]
    stream: bool = False

    @property
    def system(self) -> str:
        """Return the system messages as one text."""
        return "\n".join(turn.content for turn in self.messages if turn.role == "system")

    @property
    def paragraphs(self) -> list[str]:
        """Return the paragraphs of the last user message that does not merely ask to go on with an answer."""
        asked = [turn.content for turn in self.messages if turn.role == "user" and turn.content != CONTINUE]
        return asked[-1].split("\n\n") if asked else []

    @property
    def has_feedback(self) -> bool:
        """Return whether the system message says what to correct."""
        return FEEDBACK_LINE in self.system.splitlines()


class ScriptedModel:
    """A model that answers from `scripts`. `received` holds the requests, oldest first."""

    def __init__(self, scripts: Iterable[Script] = ()) -> None:
        self._scripts = {script.question: script for script in scripts}
        self.received: deque[ChatRequest] = deque(maxlen=RECEIVED_MAX)

    def application(self) -> web.Application:
        """Return the application with its routes."""
        application = web.Application(client_max_size=REQUEST_BYTES_MAX)
        application.router.add_get("/health", _health)
        application.router.add_get("/v1/models", _models)
        application.router.add_post("/v1/chat/completions", self._complete)
        return application

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        try:
            request = msgspec.json.decode(await http.read(), type=ChatRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            return _error(400, f"not a chat request: {exc}")
        if request.model not in MODELS:
            return _error(404, f"there is no such model; there are {', '.join(MODELS)}")
        self.received.append(request)
        script = next((self._scripts[text] for text in request.paragraphs if text in self._scripts), _GENERIC)
        kind = script.kind if request.model == MODEL_NAME else ScriptKind(request.model)
        text = _text(script, kind, has_feedback=request.has_feedback)
        if not request.stream:
            return _whole(request, kind, text)
        return await _stream(http, request, kind, text, script.word_ms / 1000)


@contextmanager
def running(model: ScriptedModel, port: int = 0) -> Generator[str]:
    """Serve `model` on loopback, in a thread, while the block runs, and yield its base URL. Port 0 takes a free one.

    Raises OSError if the port is taken.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted-model", daemon=True)
    thread.start()
    serving = _serving(model, port)
    try:
        yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(START_TIMEOUT_S)
    finally:
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(START_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def _serving(model: ScriptedModel, port: int) -> AsyncGenerator[str]:
    runner = web.AppRunner(model.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def _text(script: Script, kind: ScriptKind, *, has_feedback: bool) -> str:
    if kind is ScriptKind.EMPTY:
        return ""
    is_above = kind is ScriptKind.STUBBORN or (kind is ScriptKind.ABOVE_THEN_WITHIN and not has_feedback)
    return script.above if is_above else script.within


async def _stream(
    http: web.Request, request: ChatRequest, kind: ScriptKind, text: str, pause_s: float
) -> web.StreamResponse:
    """Send the answer in chunks, unless the client closes the request before its end."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(http)
    with suppress(ConnectionResetError):
        await _write(http, response, request, kind, text, pause_s)
    return response


async def _write(
    http: web.Request,
    response: web.StreamResponse,
    request: ChatRequest,
    kind: ScriptKind,
    text: str,
    pause_s: float,
) -> None:
    """Send a chunk for each word, with pauses between them, and the end of the stream unless the script breaks off."""
    words = text.split(" ")
    said = words[: len(words) // 2] if kind is ScriptKind.CUT else words
    for index, word in enumerate(said):
        if index and pause_s:
            await asyncio.sleep(pause_s)
        await response.write(_event(request, {"delta": {"content": word if not index else f" {word}"}}))
    if kind is ScriptKind.CUT:
        assert http.transport is not None
        http.transport.abort()
        return
    if kind is ScriptKind.NOT_JSON:
        await response.write(b'data: {"choices": [\n\n')
    await response.write(_event(request, {"delta": {}, "finish_reason": _finish_reason(kind)}))
    await response.write(_data({**_head(request), "choices": [], "usage": _usage(request, text)}))
    await response.write(b"data: [DONE]\n\n")


def _whole(request: ChatRequest, kind: ScriptKind, text: str) -> web.Response:
    """Return the answer in one piece; one that breaks off is half of its JSON."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(kind)}
    body = msgspec.json.encode({**_head(request), "choices": [choice], "usage": _usage(request, text)})
    if kind in {ScriptKind.CUT, ScriptKind.NOT_JSON}:
        body = body[: len(body) // 2]
    return web.Response(body=body, content_type="application/json")


def _finish_reason(kind: ScriptKind) -> str:
    return "content_filter" if kind is ScriptKind.FILTERED else "stop"


def _head(request: ChatRequest) -> dict[str, object]:
    kind = "chat.completion.chunk" if request.stream else "chat.completion"
    return {"id": "chatcmpl-scripted", "object": kind, "created": 0, "model": request.model}


def _event(request: ChatRequest, choice: dict[str, object]) -> bytes:
    return _data({**_head(request), "choices": [{"index": 0, "finish_reason": None, **choice}]})


def _data(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _usage(request: ChatRequest, text: str) -> dict[str, int]:
    """Return the usage, with words counted as tokens."""
    asked = sum(len(turn.content.split()) for turn in request.messages)
    answered = len(text.split())
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


async def _health(_: web.Request) -> web.Response:
    return web.Response()


async def _models(_: web.Request) -> web.Response:
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "sluicegate"} for name in MODELS]
    return web.json_response({"object": "list", "data": models})


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve scripted answers over the OpenAI-compatible chat API.")
    parser.add_argument("--port", type=int, default=0, help="port on loopback; 0, the default, takes a free one")
    with running(ScriptedModel((*sample_scripts(), *example_scripts())), parser.parse_args().port) as url:
        print(f"{url} serves {', '.join(MODELS)}; Ctrl-C stops it", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
