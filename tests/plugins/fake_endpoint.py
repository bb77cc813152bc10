"""An OpenAI-compatible endpoint that speaks the wire protocol over a real socket and misbehaves as told."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What is done after a request has been read."""

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
MODEL = "wire-model"


@dataclass(frozen=True)
class Received:
    """One request: lower-case header names, decoded body."""

    path: str
    headers: dict[str, str]
    body: dict[str, object]


def chunk(content: str | None = None, *, finish_reason: str | None = None) -> bytes:
    """One chunk of an answer as vLLM spells it."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]})


def event(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def answer_bytes(words: Sequence[str], *, finish_reason: str = "stop", output_tokens: int | None = None) -> bytes:
    """A whole streamed answer."""
    usage = {"prompt_tokens": 7, "completion_tokens": len(words) if output_tokens is None else output_tokens}
    parts = [chunk("")]
    parts += [chunk(word) for word in words]
    parts += [chunk(finish_reason=finish_reason), event({"choices": [], "usage": usage}), b"data: [DONE]\n\n"]
    return b"".join(parts)


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(pieces: Iterable[bytes], *, pause_s: float = 0.0, is_cut: bool = False) -> Play:
    """Send the pieces one by one; `is_cut` closes the connection without the end of the body."""

    async def play(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_STREAM_HEAD)
        for piece in pieces:
            writer.write(_framed(piece))
            await writer.drain()
            await asyncio.sleep(pause_s)
        if is_cut:
            writer.close()
        else:
            writer.write(b"0\r\n\r\n")

    return play


def answer(*words: str, finish_reason: str = "stop", pause_s: float = 0.0) -> Play:
    """Answer with these words, one chunk each."""
    return stream([answer_bytes(words, finish_reason=finish_reason)], pause_s=pause_s)


def status(code: int, body: bytes = b'{"error":{"message":"secret text"}}', *headers: str) -> Play:
    """Answer with an HTTP status and a body."""
    lines = [f"HTTP/1.1 {code} Said", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]

    async def play(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return play


def raw(data: bytes) -> Play:
    """Send these bytes and close."""

    async def play(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return play


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin a streamed answer, then say nothing until the client goes away."""
    writer.write(_STREAM_HEAD + _framed(chunk("a")))
    await writer.drain()
    await reader.read()
    writer.close()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing at all until the client goes away."""
    await reader.read()
    writer.close()


@dataclass
class FakeEndpoint:
    """Plays `plays` in order, one a request, then `then` for ever. Use as an asynchronous context manager.

    `port` 0 takes a free one.
    """

    plays: list[Play] = field(default_factory=list[Play])
    then: Play = field(default_factory=lambda: answer("Hello", " there"))
    port: int = 0
    received: list[Received] = field(default_factory=list[Received])
    open_count: int = 0
    busy_count: int = 0
    busy_max: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _all_closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def base_url(self) -> str:
        """Ends before `/chat/completions`."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open_count += 1
        self._all_closed.clear()
        try:
            while not writer.is_closing():
                self.received.append(await _read_request(reader))
                play = self.plays.pop(0) if self.plays else self.then
                self.busy_count += 1
                self.busy_max = max(self.busy_max, self.busy_count)
                try:
                    await play(reader, writer)
                finally:
                    self.busy_count -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self.open_count -= 1
            if not self.open_count:
                self._all_closed.set()
            writer.close()

    async def wait_closed_by_client(self, timeout_s: float = 60.0) -> None:
        """Return when no connection is open; raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self._all_closed.wait()


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(path=first.split(" ")[1], headers=headers, body=json.loads(body or b"{}"))
