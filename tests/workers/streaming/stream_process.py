"""A small worker as a process: it streams one answer, segment by segment, and says what it does.

python -m tests.workers.streaming.stream_process <brokers> <topic> <generation> <producer id> <name> <pause in s>
"""

import asyncio
import sys
import time
from collections.abc import Sequence

from msgspec.structs import replace

from topology.contract.errors import Replaced
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.names import DraftSource
from topology.contract.records import Ownership, Record
from topology.telemetry.instruments import Instruments
from workers.settings import KafkaSettings, Settings, StreamingSettings, TopicSettings
from workers.streaming.opening import WorkerStreams, open_streams

AUDIT_ID = "a1"
EVENT = ConversationEvent(
    event_id="e1",
    conversation_id="c1",
    tenant_id="t1",
    messages=(Message(role=Role.USER, parts=(TextPart(text="Tell me more."),)),),
    stream=True,
)
SEGMENTS = 200


def streams_of(brokers: str, topic: str, generation: int, producer_id: int) -> WorkerStreams:
    """Return the streams of a worker that owns partition 0 in `generation`."""
    settings = replace(
        Settings(),
        kafka=KafkaSettings(bootstrap_servers=tuple(brokers.split(","))),
        topics=TopicSettings(stream=topic),
        streaming=StreamingSettings(enabled=True),
    )
    streams = open_streams(settings, Instruments.none())
    assert streams is not None
    streams.begin(lambda: Ownership(generation=generation, member_id="m", group_id="g"), (producer_id, 0))
    streams.memory.keep([("events", 0)])
    return streams


def record_at(event_ms: int) -> Record:
    return Record(topic="events", partition=0, offset=0, timestamp_ms=event_ms, key=b"c1", value=b"")


async def stream(streams: WorkerStreams, event_ms: int, name: str, count: int, pause_s: float) -> str:
    """Release `count` segments; return how that ended."""
    releases = streams.releases(record_at(event_ms), EVENT, AUDIT_ID)
    try:
        say("open", repr(await releases.open()))
        for number in range(count):
            await releases.release(f"{name}{number}. ", DraftSource.GENERATOR, is_last=False)
            say("released", str(number))
            await asyncio.sleep(pause_s)
    except Replaced as exc:
        return f"replaced: {exc.reason}"
    return releases.sent


def say(*words: str) -> None:
    print(*words, flush=True)


def main(arguments: Sequence[str]) -> None:
    """Stream until somebody else has taken over."""
    brokers, topic, generation, producer_id, name, pause_s = arguments
    streams = streams_of(brokers, topic, int(generation), int(producer_id))
    say("end", asyncio.run(stream(streams, int(time.time() * 1000), name, SEGMENTS, float(pause_s))))
    streams.close()


if __name__ == "__main__":
    main(sys.argv[1:])
