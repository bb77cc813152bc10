"""The wire form of a streamed chat completion: the request's JSON, and the answer put together from its chunks."""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Struct, UnsetType

from serving.endpoint.sse import SseParser

_END = b"[DONE]"


class ChatTurn(Struct, frozen=True, kw_only=True):
    """One message as the endpoint reads it."""

    role: str
    content: str


class _StreamOptions(Struct, frozen=True, kw_only=True):
    include_usage: bool = True


class ChatBody(Struct, frozen=True, kw_only=True):
    """The request's JSON. UNSET fields are not sent, so that strict endpoints see standard fields only."""

    model: str
    messages: tuple[ChatTurn, ...]
    max_tokens: int | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    stop: tuple[str, ...] | UnsetType = UNSET
    ignore_eos: bool | UnsetType = UNSET
    response_format: Mapping[str, object] | UnsetType = UNSET
    stream: bool = True
    stream_options: _StreamOptions = _StreamOptions()


class Completion(Struct, frozen=True, kw_only=True):
    """A whole answer. `first_chunk_s` counts from when the answered request was sent."""

    text: str
    finish_reason: str
    model: str = ""
    response_id: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    first_chunk_s: float = 0.0


class StreamError(Exception):
    """A stream that cannot become an answer. `args` is (what is wrong, HTTP status named by the endpoint or None)."""

    def __init__(self, problem: str, status: int | None = None) -> None:
        super().__init__(problem, status)
        self.problem = problem
        self.status = status


class _Delta(Struct, frozen=True, gc=False):
    content: str | None = None


class _Choice(Struct, frozen=True):
    index: int = 0
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Usage(Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Error(Struct, frozen=True):
    code: int | str | None = None


class _Chunk(Struct, frozen=True):
    id: str = ""
    model: str = ""
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Chunk).decode


def encode_body(body: ChatBody) -> bytes:
    """Encode the request as JSON; a lone surrogate in a text becomes a replacement character."""
    try:
        return _encode(body)
    except UnicodeEncodeError:
        turns = tuple(ChatTurn(role=turn.role, content=_without_surrogates(turn.content)) for turn in body.messages)
        return _encode(msgspec.structs.replace(body, messages=turns))


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


class CompletionStream:
    """The answer under construction from received bytes. Plain and synchronous."""

    def __init__(self) -> None:
        self._parser = SseParser()
        self._pieces: list[str] = []
        self._id = ""
        self._model = ""
        self._finish_reason = ""
        self._usage = _Usage()
        self.is_ended = False

    def feed(self, received: bytes) -> None:
        """Take received bytes. Raises StreamError for a chunk that does not decode or that reports an error."""
        for data in self._parser.feed(received):
            if data == _END:
                self.is_ended = True
            elif not self.is_ended:
                self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise StreamError("a chunk is not the JSON of a chunk") from exc
        if chunk.error is not None:
            raise StreamError("the endpoint reported an error in its stream", _status(chunk.error))
        self._id = chunk.id or self._id
        self._model = chunk.model or self._model
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices:
            if choice.index == 0:
                self._take_choice(choice)

    def _take_choice(self, choice: _Choice) -> None:
        if choice.delta.content:
            self._pieces.append(choice.delta.content)
        if choice.finish_reason:
            self._finish_reason = choice.finish_reason

    def completion(self, first_chunk_s: float = 0.0) -> Completion:
        """Return the answer after the last byte. Raises StreamError if the endpoint never said that it was finished."""
        if not self._finish_reason:
            raise StreamError("the stream ended before the answer did")
        return Completion(
            text="".join(self._pieces),
            finish_reason=self._finish_reason,
            model=self._model,
            response_id=self._id,
            input_tokens=self._usage.prompt_tokens or 0,
            output_tokens=self._usage.completion_tokens or 0,
            first_chunk_s=first_chunk_s,
        )


def _status(error: _Error) -> int:
    """Return the HTTP status that the endpoint names, or 500."""
    return error.code if isinstance(error.code, int) and 400 <= error.code <= 599 else 500
