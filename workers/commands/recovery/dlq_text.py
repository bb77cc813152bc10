"""The output of `sluicegate dlq`: no key, no value, and only header values that workers wrote or that name a format."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from topology.contract.dead_letters import LETTER_HEADERS
from topology.contract.events import Position
from topology.contract.lineage import place
from topology.contract.names import Header
from topology.contract.records import Record
from workers.commands.console.terminal import printable
from workers.commands.console.times import shown
from workers.commands.recovery.letters import UNKNOWN, Letter, Newest, Wholeness
from workers.commands.recovery.redriven_marks import Marks
from workers.commands.recovery.redriving import Plan, Refusal

KEY_DIGITS = 12
HEADER_CHARACTERS_MAX = 200
POSITIONS_NAMED_MAX = 10

COLUMNS = (
    ("position", 12),
    ("time", 21),
    ("reason", 18),
    ("stage", 18),
    ("original", 32),
    ("key sha256", 13),
    ("bytes", 9),
    ("decodes", 21),
    ("redriven", 9),
    ("before", 6),
)

SHOWN_HEADERS = LETTER_HEADERS | {
    name.value
    for name in (
        Header.CONTENT_TYPE,
        Header.SCHEMA,
        Header.TRACEPARENT,
        Header.TRACESTATE,
        Header.CE_ID,
        Header.CE_SOURCE,
        Header.CE_SPECVERSION,
        Header.CE_TYPE,
        Header.CE_TIME,
    )
}
"""Headers whose values `show` prints; of others it prints the length, since a chat service may put anything there."""

REASONS_OF = {
    Refusal.CUT: "only the beginning was kept; have the chat service send them again",
    Refusal.ALTERED: "value and headers do not agree: not as a worker wrote them",
    Refusal.FOREIGN: "not written by a worker",
    Refusal.REDRIVEN: "put back before; --again puts them back once more",
    Refusal.POISON: "workers crashed on them; --include-poison puts them back",
    Refusal.ANSWERED: "answered `withheld` already; --answered-too gets a second answer for each",
}


def listed(letters: Sequence[Letter], marks: Marks | None) -> Iterator[str]:
    """Yield the table, its heading first; nothing if there are no letters."""
    if letters:
        yield _row(name for name, _ in COLUMNS)
    for letter in letters:
        yield _row(_cells(letter, marks))


def totals(newest: Newest) -> str:
    """Say how many letters there are of each reason, and whether all are shown."""
    text = f"letters: {newest.count}"
    if newest.count:
        text += f"; {_counted(newest.by_reason)}"
    hidden = newest.count - len(newest.letters())
    return f"{text}; the newest {newest.count - hidden} are shown" if hidden else text


def json_document(letters: Sequence[Letter], marks: Marks | None, newest: Newest) -> str:
    """Return the list as one JSON object: `letters`, the newest last, `total`, and `by_reason`."""
    rows = [{**msgspec.to_builtins(letter), "redriven": _is_redriven(letter, marks)} for letter in letters]
    document = {"letters": rows, "total": newest.count, "by_reason": dict(newest.by_reason)}
    return msgspec.json.encode(document).decode()


def described(record: Record, letter: Letter, marks: Marks | None, claim: str) -> Iterator[str]:
    """Yield everything about one letter but its key and value. `claim` says whether its origin is confirmed."""
    cells = {
        "letter": place(record.topic, record.partition, record.offset),
        "time": shown(letter.timestamp_ms),
        "original": f"{_place(letter.origin)}{claim}",
        "read from": _place(letter.source),
        "key": f"{len(record.key)} bytes, sha256 {letter.key_sha256}" if record.key is not None else "null",
        "value": f"{letter.value_bytes} bytes; the original had {letter.original_bytes}",
        "kept": letter.wholeness.value,
        "decodes": _decodes(letter),
        "redriven": {None: UNKNOWN, True: "yes", False: "no"}[_is_redriven(letter, marks)],
        "before": f"{letter.redriven_count}, last from {letter.redriven_from or UNKNOWN}"
        if letter.redriven_count
        else "0",
    }
    yield from (f"{name:<10} {text}" for name, text in cells.items())
    yield f"headers    {len(record.headers)}"
    yield from (f"  {_header(name, value)}" for name, value in record.headers)


def planned(plan: Plan, topic: str, target: str, missing: Iterable[tuple[int, int]], *, again: bool) -> Iterator[str]:
    """Yield what a redrive would do."""
    yield f"from {topic} to {target}"
    yield f"  to put back: {plan.chosen.total()}{_in_brackets(plan.chosen)}"
    if plan.problems:
        yield f"  of these, dead letters again as things are: {plan.problems.total()}{_in_brackets(plan.problems)}"
    if plan.late_count:
        yield f"  of these, past their deadline and so answered `withheld`: {plan.late_count}"
    if again:
        yield "  --again: run it once; interrupted and run again, it puts letters back twice"
    for refusal, count in sorted(plan.refused.items()):
        yield f"  left out: {count} {refusal.value}: {REASONS_OF[refusal]}"
    if absent := sorted(missing):
        named = ", ".join(f"{partition}:{offset}" for partition, offset in absent[:POSITIONS_NAMED_MAX])
        more = f" and {len(absent) - POSITIONS_NAMED_MAX} more" if len(absent) > POSITIONS_NAMED_MAX else ""
        yield f"  no letter of this selection at {named}{more}"


def _row(cells: Iterable[str]) -> str:
    return " ".join(f"{cell:<{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)).rstrip()


def _cells(letter: Letter, marks: Marks | None) -> tuple[str, ...]:
    return (
        f"{letter.partition}:{letter.offset}",
        shown(letter.timestamp_ms),
        letter.reason,
        letter.stage,
        _place(letter.origin),
        letter.key_sha256[:KEY_DIGITS] if letter.key_sha256 else "-",
        str(letter.original_bytes),
        _decodes(letter),
        {None: UNKNOWN, True: "yes", False: "no"}[_is_redriven(letter, marks)],
        str(letter.redriven_count),
    )


def _decodes(letter: Letter) -> str:
    if letter.wholeness is not Wholeness.WHOLE:
        return letter.wholeness.value
    return letter.problem or "yes"


def _is_redriven(letter: Letter, marks: Marks | None) -> bool | None:
    return None if marks is None else marks.holds(letter.partition, letter.offset)


def _place(position: Position | None) -> str:
    return UNKNOWN if position is None else place(position.topic, position.partition, position.offset)


def _header(name: str, value: bytes) -> str:
    if name.lower() in SHOWN_HEADERS:
        return f"{name.lower()}: {printable(value.decode('utf-8', 'replace'), HEADER_CHARACTERS_MAX)}"
    return f"{printable(name, HEADER_CHARACTERS_MAX)}: {len(value)} bytes, not shown"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in Counter(counts).most_common())


def _in_brackets(counts: Mapping[str, int]) -> str:
    return f" ({_counted(counts)})" if counts else ""
