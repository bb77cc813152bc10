"""Labelled rows: requests, replies, documents and conversations, as the corpus and every evaluation file spell them."""

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from topology.contract.labels import Context, Declines, Intent, Level, Mode, RiskSubject, Signal, Urgency, Vulnerability

ROW_BYTES_MAX = 4 * 1024 * 1024
Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}$")]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
Age = Literal["adult", "teen", "unknown"]
"""What the chat service knows; `adult` is verified."""


class RowError(ValueError):
    """A row that cannot be used; `args` is (file, line, what is wrong). No text of the row is in it."""


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message of a conversation."""

    role: Literal["user", "assistant", "system", "tool"]
    text: str


class Finding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A category that a request is rightly labelled with."""

    category: str
    harm: Level
    intent: Intent
    context: Context
    asked: Level


class RequestExpected(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The right labels of a request; `also` names other right answers by field."""

    findings: tuple[Finding, ...] = ()
    vulnerability: Vulnerability = Vulnerability.NONE
    risk_subject: RiskSubject = RiskSubject.SELF
    urgency: Urgency | None = None
    signals: tuple[Signal, ...] = ()
    said_age: int | None = None
    mode: Mode
    also: dict[str, tuple[str, ...]] = {}


class ReplyFinding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A category that a reply is rightly labelled with; `separable`: the offending part can be cut out."""

    category: str
    harm: Level
    detail: Level
    separable: bool = False


class ReplyExpected(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The right labels of a reply. `pii` are spans of personal data, with their kind, in code points of the reply.

    `crosses` is the first sentence of a reply that must not leave with which it says what must not be said.
    """

    findings: tuple[ReplyFinding, ...] = ()
    declines: Declines = Declines.NONE
    bare_refusal: bool = False
    obligations: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    unfair: bool = False
    pii: tuple[tuple[int, int, str], ...] = ()
    obeyed_injection: bool = False
    privileged_leak: bool = False
    may_leave: bool
    crosses: tuple[int, int] | None = None


class RequestRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request: the last messages of a conversation."""

    id: Id
    lang: Language
    author: str
    topic: str
    kind: str
    messages: Annotated[tuple[Message, ...], Meta(min_length=1)]
    age: Age = "unknown"
    plain: bool = True
    twin: str | None = None
    expect: RequestExpected


class ReplyRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reply to a request."""

    id: Id
    lang: Language
    author: str
    topic: str
    kind: str
    messages: Annotated[tuple[Message, ...], Meta(min_length=1)]
    reply: str
    age: Age = "unknown"
    plain: bool = True
    twin: str | None = None
    request_expect: RequestExpected
    expect: ReplyExpected


class DocumentRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document or a tool's result. `injection` are the spans of orders to the assistant, in code points."""

    id: Id
    lang: Language
    author: str
    kind: str
    text: str
    injection: tuple[tuple[int, int], ...] = ()
    orders: str | None = None
    twin: str | None = None


class TurnExpected(RequestExpected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The right labels of one event of a conversation.

    `remembered` is a risk of earlier events whose obligations stay. `may_leave` and `reply` are about its candidate.
    """

    remembered: Vulnerability | None = None
    may_leave: bool | None = None
    reply: ReplyExpected | None = None


class TurnRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event of a conversation, with the whole history that it carries."""

    messages: Annotated[tuple[Message, ...], Meta(min_length=1)]
    candidate: str | None = None
    expect: TurnExpected


class ConversationRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A conversation: events one after another, with memory between them."""

    id: Id
    lang: Language
    author: str
    kind: str
    age: Age = "unknown"
    harmless: bool
    overlay: str | None = None
    twin: str | None = None
    events: Annotated[tuple[TurnRow, ...], Meta(min_length=1)]


Row = RequestRow | ReplyRow | DocumentRow | ConversationRow


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file of JSON lines. Raises RowError at the first that has another shape."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _row(path, number, line)


def _row(path: Path, number: int, line: bytes) -> Row:
    if len(line) > ROW_BYTES_MAX:
        raise RowError(path.name, number, f"longer than {ROW_BYTES_MAX} bytes")
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        return msgspec.json.decode(line, type=_kind_of(fields))
    except msgspec.DecodeError as error:
        raise RowError(path.name, number, str(error)) from None


def _kind_of(fields: Container[str]) -> type[Row]:
    if "events" in fields:
        return ConversationRow
    if "reply" in fields:
        return ReplyRow
    return RequestRow if "messages" in fields else DocumentRow
