"""A copy of a record: what is put back for a dead letter, and what is replayed. Pure."""

from topology.contract.dead_letters import LETTER_HEADERS
from topology.contract.headers import last_header
from topology.contract.lineage import origin_headers, origin_of, place, position_of, redriven_count
from topology.contract.names import Header
from topology.contract.records import OutRecord, Record


def original(letter: Record) -> Record:
    """The record that a whole letter was written for: bytes, key and own headers; time and place are the letter's."""
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
    """What is written for a whole letter: the original, with headers that name the very first copy and the letter."""
    origin = origin_of(letter.headers)
    assert origin is not None, "a letter without its position is never put back"
    before = original(letter)
    count = redriven_count(letter.headers) + 1
    taken_from = place(letter.topic, letter.partition, letter.offset)
    lineage = ((Header.REDRIVEN.value, str(count).encode()), (Header.REDRIVEN_FROM.value, taken_from.encode()))
    headers = before.headers + origin_headers(origin) + lineage
    return OutRecord(topic=topic, key=before.key, value=before.value, headers=headers, partition=partition)


def replayed(record: Record, topic: str, partition: int | None) -> OutRecord:
    """The same record for `topic`: key, value, time and headers, besides the position of this one and of the first."""
    ours = {Header.REPLAYED_FROM.value, *(name for name, _ in origin_headers(position_of(record)))}
    kept = tuple((name, value) for name, value in record.headers if name.lower() not in ours)
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
