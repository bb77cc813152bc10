"""A dead letter as an operator sees it: its headers, whether it is whole, and whether it would decode now.

A Letter holds no user text: keys and values are shown as lengths and digests, and the value of a worker's header only
if it has the form that workers write.
"""

import hashlib
import heapq
import re
from collections import Counter
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from topology.contract.codec import RecordLimits, decode_event
from topology.contract.errors import DeadLetter
from topology.contract.events import Position
from topology.contract.headers import last_header
from topology.contract.lineage import origin_of, place_in, redriven_count, source_of
from topology.contract.names import Header
from topology.contract.records import Headers, Record
from workers.commands.recovery.copies import original

KEY_DIGITS = 12
_REASON = re.compile(r"[a-z_]{1,40}")
_STAGE = re.compile(r"[a-z_]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,19}")
UNKNOWN = "?"
"""Shown in place of a value that no worker wrote."""


class Wholeness(StrEnum):
    """The state of a letter: only from a whole one can the original be restored."""

    WHOLE = "whole"
    CUT = "cut"
    """Value, key or headers were too long, and only their beginning was kept."""
    ALTERED = "altered"
    """Length or SHA-256 of the value differ from the headers."""
    FOREIGN = "foreign"
    """Not written by a worker: it names no reason or no position."""


class Letter(Struct, frozen=True, kw_only=True):
    """One record of the dead-letter topic.

    `origin` is the claimed position of the first copy, `source` the position at which a worker read this one; None if
    the letter does not say. The claim's topic is UNKNOWN unless it is the input or that of `source`: anybody may have
    written it. `original_bytes` is the length before the value was cut. `problem` is the reason for which it would be
    dead-lettered again under the present settings: empty if it decodes, None if it is not whole, so that nobody can
    tell. `deadline_ms` is the event's own; None if it has none or does not decode.
    """

    partition: int
    offset: int
    timestamp_ms: int
    reason: str
    stage: str
    origin: Position | None
    source: Position | None
    key_sha256: str | None
    value_bytes: int
    original_bytes: int
    wholeness: Wholeness
    problem: str | None = None
    deadline_ms: int | None = None
    redriven_count: int = 0
    redriven_from: str | None = None


def letter_of(record: Record, limits: RecordLimits, input_topic: str) -> Letter:
    """Read a record of the dead-letter topic."""
    headers, value = record.headers, record.value or b""
    stated = last_header(headers, Header.ORIGINAL_LENGTH) or ""
    wholeness = _wholeness(record, limits)
    problem, deadline_ms = _decoded(record, limits) if wholeness is Wholeness.WHOLE else (None, None)
    return Letter(
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        reason=_word(headers, Header.REASON, _REASON),
        stage=_word(headers, Header.STAGE, _STAGE),
        origin=_shown_origin(headers, input_topic),
        source=source_of(headers),
        key_sha256=hashlib.sha256(record.key).hexdigest() if record.key is not None else None,
        value_bytes=len(value),
        original_bytes=int(stated) if _NUMBER.fullmatch(stated) else len(value),
        wholeness=wholeness,
        problem=problem,
        deadline_ms=deadline_ms,
        redriven_count=redriven_count(headers),
        redriven_from=_from_here(record),
    )


def _shown_origin(headers: Headers, input_topic: str) -> Position | None:
    origin, source = origin_of(headers), source_of(headers)
    if origin is None or source is None or origin.topic in {input_topic, source.topic}:
        return origin
    return replace(origin, topic=UNKNOWN)


def _from_here(record: Record) -> str | None:
    """Return the letter that it was put back from, if that is one of this topic."""
    claimed = place_in(record.headers, Header.REDRIVEN_FROM)
    return claimed if claimed is not None and claimed.startswith(f"{record.topic}:") else None


def _wholeness(record: Record, limits: RecordLimits) -> Wholeness:
    headers, value = record.headers, record.value or b""
    if last_header(headers, Header.REASON) is None or source_of(headers) is None or origin_of(headers) is None:
        return Wholeness.FOREIGN
    stated_length = last_header(headers, Header.ORIGINAL_LENGTH)
    is_cut = stated_length is not None and _NUMBER.fullmatch(stated_length) and int(stated_length) > len(value)
    # A letter does not say that its key was cut; a key of the longest length that is kept may have been.
    is_key_cut = record.key is not None and len(record.key) >= limits.dead_letter_bytes_max
    if is_cut or is_key_cut or last_header(headers, Header.ORIGINAL_HEADERS_DROPPED) is not None:
        return Wholeness.CUT
    if stated_length != str(len(value)):
        return Wholeness.ALTERED
    if last_header(headers, Header.ORIGINAL_SHA256) != hashlib.sha256(value).hexdigest():
        return Wholeness.ALTERED
    return Wholeness.WHOLE


def _decoded(record: Record, limits: RecordLimits) -> tuple[str, int | None]:
    try:
        return "", decode_event(original(record), limits).deadline_ms
    except DeadLetter as exc:
        return exc.reason.value, None


def _word(headers: Headers, name: Header, form: re.Pattern[str]) -> str:
    text = last_header(headers, name) or ""
    return text if form.fullmatch(text) else UNKNOWN


class Newest:
    """The `letters_max` newest of all letters that were added, and how many there were of each reason."""

    def __init__(self, letters_max: int) -> None:
        self._letters_max = letters_max
        self._kept: list[tuple[tuple[int, int, int], Letter]] = []
        self.by_reason: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """Return how many letters were added."""
        return self.by_reason.total()

    def add(self, letter: Letter) -> None:
        """Count a letter, and keep it while it is one of the newest."""
        self.by_reason[letter.reason] += 1
        # No two letters have the same partition and offset, so letters themselves are never compared.
        entry = ((letter.timestamp_ms, letter.partition, letter.offset), letter)
        if len(self._kept) < self._letters_max:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def letters(self) -> list[Letter]:
        """Return the kept letters, the newest last."""
        return [letter for _, letter in sorted(self._kept, key=lambda entry: entry[0])]
