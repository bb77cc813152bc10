"""The wire form of a streamed chat completion: the request's JSON, and the answer put together from its chunks."""

import hashlib
import re
from collections.abc import Callable, Mapping

import msgspec
from msgspec import UNSET, Struct, UnsetType

from serving.endpoint.sse import SseParser
from serving.endpoint.stream_errors import StreamError, fields_of, status_of
from serving.text.reasoning import ReasoningCutter, without_reasoning

TOKENS_MAX = 2**53
"""A larger number of tokens is none; it is the largest whole number that every JSON reader understands."""

_END = b"[DONE]"
_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,256}")
_PATH = re.compile(r"at `(\$[\w.\[\]]*)`")
_TEXT_TYPES = ("text", "output_text", None)
_FIRST = (0, None, "0")
"""Spellings of the first choice's index; only one is asked for."""


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
    continue_final_message: bool | UnsetType = UNSET
    add_generation_prompt: bool | UnsetType = UNSET
    stream: bool = True
    stream_options: _StreamOptions = _StreamOptions()


class Completion(Struct, frozen=True, kw_only=True):
    """A whole answer. `first_chunk_s` counts from when the answered request was sent.

    `finish_reason`, `model` and `response_id` are bounded names, whatever the server sent: see `_named`.
    """

    text: str
    finish_reason: str
    model: str = ""
    response_id: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    first_chunk_s: float = 0.0


class _Part(Struct, frozen=True, gc=False):
    """A part of a content that comes as a list (Mistral); reasoning has another type."""

    type: object = "text"
    text: object = ""


_Content = str | list[str | _Part | None] | None


class _Delta(Struct, frozen=True):
    content: _Content = None
    refusal: str | None = None


class _Choice(Struct, frozen=True):
    delta: _Delta | None = None
    index: object = None
    finish_reason: object = None


class _Chunk(Struct, frozen=True):
    """A chunk, read for what an answer needs. Whatever else a server puts into it, or leaves null, decides nothing."""

    choices: list[_Choice | None] | None = None
    id: object = None
    model: object = None
    usage: object = None
    error: object = None
    kind: object = msgspec.field(name="object", default=None)
    code: object = None
    type: object = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Chunk | None).decode


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
        self._told: list[str] = []
        self._told_count = 0
        self._cutter: ReasoningCutter | None = None
        self._id: object = None
        self._model: object = None
        self._finish_reason: object = None
        self._usage: object = None
        self.is_ended = False

    def feed(self, received: bytes) -> None:
        """Take received bytes. Raises StreamError for a chunk that does not decode or that reports an error."""
        for data in self._parser.feed(received):
            self._take_event(data)

    def _take_event(self, data: bytes) -> None:
        if self.is_ended or not (stripped := data.strip()):
            return
        if stripped == _END:
            self.is_ended = True
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            chunk = _decode(data)
        except msgspec.ValidationError as exc:
            raise StreamError(f"a chunk has another type than an answer's at {_path(exc)}") from exc
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise StreamError("a chunk is not JSON") from exc
        if chunk is None:
            return
        _raise_reported(chunk)
        self._id = chunk.id or self._id
        self._model = chunk.model or self._model
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices or ():
            if choice is not None and choice.index in _FIRST:
                self._take_choice(choice)

    def _take_choice(self, choice: _Choice) -> None:
        delta = choice.delta
        if delta is not None:
            if delta.content:
                self._pieces.append(_text(delta.content))
            if delta.refusal:  # the model's own words too
                self._pieces.append(delta.refusal)
        self._finish_reason = choice.finish_reason or self._finish_reason

    def next_text(self) -> str:
        """Return the answer's text that came since the last call, without reasoning; joined, the calls are the text.

        Once it was called, `completion` has no other text. Raises StreamError if reasoning cannot be told apart.
        """
        self._cutter = self._cutter or ReasoningCutter()
        fresh = "".join(self._pieces[self._told_count :])
        self._told_count = len(self._pieces)
        return self._noted(self._cutter.feed, fresh) if fresh else ""

    def last_text(self) -> str:
        """Return the rest of the text after the last byte, as `next_text` does."""
        self._take_last()
        fresh = self.next_text()
        assert self._cutter is not None
        cutter = self._cutter
        return fresh + self._noted(lambda _: cutter.end(), "")

    def _noted(self, cut: Callable[[str], str], piece: str) -> str:
        try:
            text = cut(piece)
        except ValueError as exc:
            raise StreamError(f"{exc} cannot be streamed") from exc
        self._told.append(text)
        return text

    def completion(self, first_chunk_s: float = 0.0) -> Completion:
        """Return the answer after the last byte. Raises StreamError if the endpoint never said that it was finished."""
        self._take_last()
        finish_reason, usage = _named(self._finish_reason), fields_of(self._usage)
        if not finish_reason:
            raise StreamError("the stream ended before the answer did")
        return Completion(
            text=without_reasoning("".join(self._pieces)) if self._cutter is None else "".join(self._told),
            finish_reason=finish_reason,
            model=_named(self._model),
            response_id=_named(self._id),
            input_tokens=_count(usage.get("prompt_tokens")),
            output_tokens=_count(usage.get("completion_tokens")),
            first_chunk_s=first_chunk_s,
        )

    def _take_last(self) -> None:
        """Take the event that the stream ended in; of a finished answer it may be cut."""
        for data in self._parser.end():
            try:
                self._take_event(data)
            except StreamError as exc:
                if exc.status is not None or not self._finish_reason:
                    raise


def _raise_reported(chunk: _Chunk) -> None:
    """Raise the error that a chunk reports: in a field of its own, or as the chunk itself (vLLM)."""
    error = chunk.error
    if not error and chunk.kind == "error":
        error = {"code": chunk.code, "type": chunk.type}
    if error:
        status = status_of(error)
        raise StreamError(f"the endpoint reported error {status} in its stream", status)


def _path(error: msgspec.ValidationError) -> str:
    """Return where a chunk differs: names of its fields, and nothing of their values."""
    found = _PATH.search(str(error))
    return found[1] if found else "$"


def _text(content: str | list[str | _Part | None]) -> str:
    """Return the text of a content; that of parts that are not text, such as reasoning, is left out."""
    if isinstance(content, str):
        return content
    return "".join([_part_text(part) for part in content])


def _part_text(part: str | _Part | None) -> str:
    if not isinstance(part, _Part):
        return part or ""
    return part.text if part.type in _TEXT_TYPES and isinstance(part.text, str) else ""


def _named(value: object) -> str:
    """Return a name that the server gave; one that is long, or not spelt like a name, is replaced by its digest.

    Names reach spans and audit records, where no text of a prompt or an answer may stand.
    """
    if not isinstance(value, str) or not value:
        return ""
    return value if _NAME.fullmatch(value) else f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"


def _count(value: object) -> int:
    """Return a number of tokens however it is spelt, or 0."""
    try:
        count = int(float(value)) if isinstance(value, str | int | float) else 0
    except (ValueError, OverflowError):
        return 0
    return count if 0 < count <= TOKENS_MAX else 0
