"""Labelled rows as examples for the encoder: a text, and for each head the target or nothing.

A head without a target does not count for an example: sources label different things.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from serving.evaluation.rows import ConversationRow, DocumentRow, Message, ReplyRow, RequestExpected, RequestRow, Row
from serving.guards.encoder.heads import CATEGORIES, HEADS, TEXT_WIDTH, Kind
from serving.guards.encoder.texts import Given, given_reply, given_request

UNKNOWN = -1.0
SENTENCE_END = re.compile("(?<=[.!?\u3002\uff01\uff1f])[\\s\"')\\]]*")
PREFIX_WEIGHT = 0.5
PREFIXES_MAX = 2
"""The most prefixes of a good reply that are examples of their own."""


class Example(Struct, frozen=True, kw_only=True):
    """One example. `targets` has TEXT_WIDTH values, UNKNOWN where nothing is known; `spans` mark injected orders."""

    source: str
    given: Given
    targets: NDArray[np.float32]
    spans: tuple[tuple[int, int], ...] | None = None
    weight: float = 1.0


class Targets:
    """The targets of one example, filled head by head."""

    def __init__(self) -> None:
        self.values = np.full(TEXT_WIDTH, UNKNOWN, np.float32)

    def choose(self, head: str, value: object) -> None:
        """Set the one value of a choice."""
        place = HEADS[head]
        self.values[place.start : place.end] = 0.0
        self.values[place.start + place.values.index(str(value))] = 1.0

    def have(self, head: str, values: Iterable[object]) -> None:
        """Set all values of a head that has several."""
        place = HEADS[head]
        held = set(map(str, values))
        self.values[place.start : place.end] = [float(value in held) for value in place.values]

    def say(self, head: str, *, is_so: bool) -> None:
        """Set a head of one output."""
        self.values[HEADS[head].start] = float(is_so)

    def say_of(self, head: str, value: str, *, is_so: bool) -> None:
        """Set one value of a head that has several, and leave the others unknown."""
        self.values[HEADS[head].start + HEADS[head].values.index(value)] = float(is_so)


def examples_of(rows: Iterable[Row]) -> list[Example]:
    """Return the examples of rows of our own corpus."""
    found: list[Example] = []
    for row in rows:
        match row:
            case RequestRow():
                found.append(_of_request(row.author, row.messages, row.expect))
            case ReplyRow():
                found.extend(_of_reply(row))
            case DocumentRow():
                targets = Targets()
                targets.say("injection", is_so=bool(row.injection))
                found.append(
                    Example(
                        source=row.author,
                        given=Given(kind=Kind.DOCUMENT, text=row.text),
                        targets=targets.values,
                        spans=tuple((start, end) for start, end in row.injection),
                    )
                )
            case ConversationRow():
                pass  # what its events are worth depends on what the conversation remembers, which no text shows
    return found


def turns_of(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Return the role and text of each message."""
    return [(each.role, each.text) for each in messages]


def _of_request(source: str, messages: Sequence[Message], expect: RequestExpected) -> Example:
    findings, targets = expect.findings, Targets()
    named = {finding.category for finding in findings} & set(CATEGORIES)
    is_harmless = not findings and expect.vulnerability in {"none", "distress"}
    targets.say("harmful", is_so=not is_harmless and expect.mode != "direct_answer")
    targets.have("category", named)
    for other in expect.also.get("category", ()):
        if other in CATEGORIES:
            targets.values[HEADS["category"].start + CATEGORIES.index(other)] = UNKNOWN
    intents = HEADS["intent"].values
    targets.choose("intent", max((finding.intent for finding in findings), key=intents.index, default="benign"))
    if findings:
        targets.choose("asked", max(finding.asked for finding in findings))
        targets.choose("context", findings[0].context)
    targets.choose("harm", max((finding.harm for finding in findings), default=0))
    if "vulnerability" not in expect.also:
        targets.choose("vulnerability", expect.vulnerability)
    if expect.vulnerability != "none":
        targets.say("other", is_so=expect.risk_subject == "other")
        targets.say("urgent", is_so=expect.urgency == "now")
    targets.have("signal", expect.signals)
    if "mode" not in expect.also:
        targets.choose("mode", expect.mode)
    return Example(source=source, given=given_request(turns_of(messages)), targets=targets.values)


def _of_reply(row: ReplyRow) -> Iterator[Example]:
    expect, targets = row.expect, Targets()
    targets.have("reply_category", {finding.category for finding in expect.findings} & set(CATEGORIES))
    targets.choose("detail", max((finding.detail for finding in expect.findings), default=0))
    targets.choose("declines", expect.declines)
    for head, is_so in (
        ("bare_refusal", expect.bare_refusal),
        ("unfair", expect.unfair),
        ("barred", not expect.may_leave and bool(expect.findings)),
        ("obeyed", expect.obeyed_injection),
        ("leak", expect.privileged_leak),
    ):
        targets.say(head, is_so=is_so)
    yield Example(source=row.author, given=given_reply(turns_of(row.messages), row.reply), targets=targets.values)
    yield _of_request(row.author, row.messages, row.request_expect)
    if expect.may_leave:
        yield from _good_prefixes(row)
    elif expect.crosses is not None:
        yield from _crossing_prefixes(row, *expect.crosses)


def _good_prefixes(row: ReplyRow) -> Iterator[Example]:
    """Yield what a good reply is after each of its first sentences: nothing barred, nothing unfair."""
    for end in prefix_ends(row.reply, PREFIXES_MAX):
        targets = Targets()
        for head in ("barred", "unfair", "obeyed", "leak"):
            targets.say(head, is_so=False)
        yield _prefix(row, end, targets)


def prefix_ends(reply: str, count_max: int) -> list[int]:
    """Return the ends of some sentences of a reply, spread over it; its own end is not among them."""
    ends = [match.end() for match in SENTENCE_END.finditer(reply)][:-1]
    return ends[:: max(1, len(ends) // count_max)][:count_max]


def _crossing_prefixes(row: ReplyRow, start: int, end: int) -> Iterator[Example]:
    """Yield what a bad reply is before and after the sentence with which it crosses what may be said."""
    if row.reply[:start].strip():
        before = Targets()
        before.say("barred", is_so=False)
        yield _prefix(row, start, before)
    if row.reply[end:].strip():
        after = Targets()
        after.say("barred", is_so=True)
        after.have("reply_category", {finding.category for finding in row.expect.findings} & set(CATEGORIES))
        yield _prefix(row, end, after)


def _prefix(row: ReplyRow, end: int, targets: Targets) -> Example:
    given = given_reply(turns_of(row.messages), row.reply[:end])
    return Example(source=row.author, given=given, targets=targets.values, weight=PREFIX_WEIGHT)
