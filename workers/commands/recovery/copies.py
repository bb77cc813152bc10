"""Copies of records: of the original that is put back for a dead letter, and of a record that is replayed. Pure."""

from topology.contract.dead_letters import LETTER_HEADERS
from topology.contract.errors import DeadLetterReason
from topology.contract.headers import last_header
from topology.contract.lineage import origin_headers, origin_of, place, position_of, redriven_count
from topology.contract.names import Header
from topology.contract.records import OutRecord, Record


def original(letter: Record) -> Record:
    """Return the record that a whole letter was written for; its time and place are the letter's."""
    is_null = last_header(letter.headers, Header.ORIGINAL_NULL) == "1"
    return Record(
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        timestamp_ms=letter.timestamp_ms,
        key=letter.key,
        value=None if is_null else letter.value,
        headers=tuple((name, value) for name, value in letter.headers if name.lower() not in LETTER_HEADERS),
    )


def put_back(letter: Record, topic: str, partition: int | None) -> OutRecord:
    """Return the original of a whole letter, with headers that name its first copy and the letter.

    An event whose result was too large for its topic has no answer, but its conversation remembers one: the copy is one
    that was replayed on purpose, which is answered.
    """
    origin = origin_of(letter.headers)
    assert origin is not None, "a letter without a position is never put back"
    before = original(letter)
    count = redriven_count(letter.headers) + 1
    taken_from = place(letter.topic, letter.partition, letter.offset)
    lineage = ((Header.REDRIVEN.value, str(count).encode()), (Header.REDRIVEN_FROM.value, taken_from.encode()))
    if last_header(letter.headers, Header.REASON) == DeadLetterReason.RESULT_TOO_LARGE.value:
        lineage += ((Header.REPLAYED_FROM.value, taken_from.encode()),)
    headers = before.headers + origin_headers(origin) + lineage
    return OutRecord(topic=topic, key=before.key, value=before.value, headers=headers, partition=partition)


def replayed(record: Record, topic: str, partition: int | None) -> OutRecord:
    """Return a copy of a record for `topic`, with headers that name its own position and that of the first copy."""
    lineage = {Header.REPLAYED_FROM.value, *(name for name, _ in origin_headers(position_of(record)))}
    kept = tuple((name, value) for name, value in record.headers if name.lower() not in lineage)
    origin = origin_of(record.headers) or position_of(record)
    copied_from = place(record.topic, record.partition, record.offset).encode()
    return OutRecord(
        topic=topic,
        key=record.key,
        value=record.value,
        headers=(*kept, *origin_headers(origin), (Header.REPLAYED_FROM.value, copied_from)),
        partition=partition,
        timestamp_ms=record.timestamp_ms,
    )
