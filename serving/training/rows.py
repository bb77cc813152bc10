"""Labelled rows: requests, replies and documents, as the corpus and every evaluation file spell them."""

from collections.abc import Iterator
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
    """The right labels of a reply. `pii` are spans of personal data, with their kind, in code points of the reply."""

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


Row = RequestRow | ReplyRow | DocumentRow


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
        kind = ReplyRow if "reply" in fields else DocumentRow if "messages" not in fields else RequestRow
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError as error:
        raise RowError(path.name, number, str(error)) from None
