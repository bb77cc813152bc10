"""The census of the records that were sent: each must end as the contract says, exactly once.

Pure: records in, a report out. `docs/contract.md` says how a record may end.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from topology.contract.errors import DeadLetterReason
from topology.contract.events import Action, AuditedResponse, AuditRecord
from topology.contract.headers import last_header
from topology.contract.lineage import source_of
from topology.contract.names import Header
from topology.contract.records import Record

PositionKey = tuple[str, int, int]

_response = msgspec.json.Decoder(AuditedResponse)
_audit = msgspec.json.Decoder(AuditRecord)


class Sent(Struct, frozen=True, kw_only=True):
    """A record that the input topic acknowledged. `expected` is None for a decodable event.

    `event_id` is the one that its answer must name: `rejected`, if `expected` is a reason. Empty: it has no answer.
    """

    name: str
    topic: str
    partition: int
    offset: int
    event_id: str = ""
    expected: DeadLetterReason | None = None

    @property
    def position(self) -> PositionKey:
        """Return the position of the record."""
        return self.topic, self.partition, self.offset


class Census(Struct, frozen=True, kw_only=True):
    """The count. The lists hold event ids or names of records; if all are empty, the guarantee held."""

    sent_count: int
    answered_count: int
    dead_lettered_count: int
    review_count: int
    actions: dict[str, int]
    dead_letter_reasons: dict[str, int]
    lost: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    unaudited: tuple[str, ...] = ()
    out_of_order: tuple[str, ...] = ()
    wrong_reason: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    @property
    def is_exactly_once(self) -> bool:
        """Return whether every record ended once, as it must, audited and in order."""
        faults = (
            self.lost,
            self.duplicated,
            self.unaudited,
            self.out_of_order,
            self.wrong_reason,
            self.unexpected,
        )
        return not any(faults)


def take_census(
    sent: Sequence[Sent],
    audited: Iterable[Record],
    audit: Iterable[Record],
    dead_letters: Iterable[Record],
    review: Iterable[Record] = (),
) -> Census:
    """Count the records that a `read_committed` reader saw. Their values must be JSON."""
    audits = [_audit.decode(record.value or b"") for record in audit]
    answers = _by_event(audited)
    audits_by_event = Counter(record.event_id for record in audits)
    letters = _by_position(dead_letters)
    lost: list[str] = []
    duplicated: list[str] = []
    wrong: list[str] = []
    unaudited: list[str] = []
    for one in sent:
        found = letters.get(one.position, [])
        if one.expected is not None:
            _count_broken(one, found, lost, duplicated, wrong)
            if not one.event_id:
                continue
        responses = answers.get(one.event_id, [])
        if not responses:
            lost.append(one.event_id)
        if len(responses) > 1 or len(found) > 1:
            duplicated.append(one.event_id)
        if responses and audits_by_event[one.event_id] != 1:
            unaudited.append(one.event_id)
        if not all(_is_fitting(one, response.action, is_dead=bool(found)) for response in responses):
            wrong.append(one.event_id)
    known = {one.event_id for one in sent if one.event_id}
    positions = {one.position for one in sent}
    return Census(
        sent_count=len(sent),
        answered_count=sum(len(found) for found in answers.values()),
        dead_lettered_count=sum(len(found) for found in letters.values()),
        review_count=sum(1 for _ in review),
        actions=dict(Counter(response.action.value for found in answers.values() for response in found)),
        dead_letter_reasons=dict(Counter(reason for found in letters.values() for reason in found)),
        lost=tuple(lost),
        duplicated=tuple(duplicated),
        unaudited=tuple(unaudited),
        out_of_order=tuple(_out_of_order(audits)),
        wrong_reason=tuple(wrong),
        unexpected=(
            *(event_id for event_id in answers if event_id not in known),
            *(f"{topic}/{partition}/{offset}" for topic, partition, offset in letters.keys() - positions),
        ),
    )


def _is_fitting(one: Sent, action: Action, *, is_dead: bool) -> bool:
    if one.expected is not None:
        return action is Action.REJECTED
    return action is Action.WITHHELD if is_dead else action is not Action.REJECTED


def _count_broken(
    one: Sent,
    found: list[str],
    lost: list[str],
    duplicated: list[str],
    wrong: list[str],
) -> None:
    if not found:
        lost.append(one.name)
    if len(found) > 1:
        duplicated.append(one.name)
    if found and one.expected is not None and found[0] != one.expected.value:
        wrong.append(f"{one.name}: {found[0]}")


def _by_event(audited: Iterable[Record]) -> dict[str, list[AuditedResponse]]:
    found: dict[str, list[AuditedResponse]] = defaultdict(list)
    for record in audited:
        response = _response.decode(record.value or b"")
        found[response.event_id].append(response)
    return found


def _by_position(dead_letters: Iterable[Record]) -> dict[PositionKey, list[str]]:
    found: dict[PositionKey, list[str]] = defaultdict(list)
    for record in dead_letters:
        read = source_of(record.headers)
        position = (read.topic, read.partition, read.offset) if read else ("", -1, -1)
        found[position].append(last_header(record.headers, Header.REASON) or "")
    return found


def _out_of_order(audits: Sequence[AuditRecord]) -> list[str]:
    """Return conversations whose audit records, in the order of their topic, step back in a source partition."""
    last: dict[tuple[str, str, int], int] = {}
    found: list[str] = []
    for record in audits:
        key = (record.conversation_id, record.position.topic, record.position.partition)
        if record.position.offset <= last.get(key, -1):
            found.append(record.conversation_id)
        last[key] = record.position.offset
    return found
