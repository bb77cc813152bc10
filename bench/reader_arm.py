"""A reader of committed records at the end of some topics, in a process of its own: when it sees each transaction.

    python -m bench.reader_arm '{"bootstrap": "127.0.0.1:9092", ...}'

Prints one `Ready` as a line of JSON once it reads, and at the end one `Seen`.
"""

import sys
import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from bench.engine_arm import ROUND_HEADER
from workers.kafka.reader import TopicReader
from workers.settings import KafkaSettings

POLL_S = 0.1


class Task(Struct, frozen=True, kw_only=True):
    """What to read: until `records` have come, for at most `timeout_s`."""

    bootstrap: str
    topics: tuple[str, ...]
    records: int
    timeout_s: float


class Ready(Struct, frozen=True, kw_only=True, tag=True):
    """The message that the reader is at the end of every partition."""


class Visible(Struct, frozen=True, array_like=True):
    """One transaction; milliseconds since the epoch. The topics' timestamps are the broker's, of the append."""

    first_appended_ms: int
    first_seen_ms: float
    last_seen_ms: float
    records: int


class Seen(Struct, frozen=True, kw_only=True, tag=True):
    """Every transaction, in the order of its first record."""

    transactions: list[Visible]


def run(task: Task) -> Seen:
    """Read, and note for each transaction when its first record was appended and when its last one came."""
    reader = TopicReader(KafkaSettings(bootstrap_servers=(task.bootstrap,)), task.topics, from_beginning=False)
    print(msgspec.json.encode(Ready()).decode(), flush=True)
    seen: dict[bytes, Visible] = {}
    count = 0
    deadline_s = time.monotonic() + task.timeout_s
    while count < task.records:
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"{count} records of {task.records} in {task.timeout_s:g} s")
        found = reader.poll(POLL_S)
        now_ms = time.time() * 1000
        count += len(found)
        for record in found:
            mark = dict(record.headers)[ROUND_HEADER]
            before = seen.get(mark, Visible(record.timestamp_ms, now_ms, now_ms, 0))
            seen[mark] = Visible(
                min(before.first_appended_ms, record.timestamp_ms), before.first_seen_ms, now_ms, before.records + 1
            )
    reader.close()
    return Seen(transactions=list(seen.values()))


def main(arguments: Sequence[str]) -> int:
    print(msgspec.json.encode(run(msgspec.json.decode(arguments[0], type=Task))).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
