"""The letters and topics that a command line names, checked."""

import argparse
import time
from collections.abc import Iterable

from topology.contract.codec import RecordLimits
from workers.commands.console import times as moments
from workers.commands.console.usage_error import WrongUse
from workers.commands.recovery.redriving import Selection, Terms
from workers.kafka.reader import RangeReader
from workers.kafka.topics import topic_table
from workers.settings import KafkaSettings, Settings


def now_ms() -> int:
    """Return the present time in Unix epoch milliseconds."""
    return time.time_ns() // 1_000_000


def terms_of(settings: Settings) -> Terms:
    """Return the terms of the present settings."""
    limits = settings.limits
    records = RecordLimits(
        event_bytes_max=limits.event_bytes_max,
        dead_letter_bytes_max=limits.dead_letter_bytes_max,
        nesting_depth_max=limits.nesting_depth_max,
    )
    return Terms(limits=records, input_topic=settings.topics.events)


def selection_of(arguments: argparse.Namespace) -> Selection:
    """Return the selection that --reason, --since, --until and positions name. Raises WrongUse."""
    since_ms, until_ms = period_of(arguments)
    return Selection(
        reasons=frozenset(arguments.reason or ()),
        since_ms=since_ms,
        until_ms=until_ms,
        positions=positions(getattr(arguments, "positions", ())),
    )


def period_of(arguments: argparse.Namespace) -> tuple[int | None, int | None]:
    """Return --since and --until in Unix epoch milliseconds; None for one that was not given. Raises WrongUse."""
    now = now_ms()
    since_ms = _time("--since", arguments.since, now)
    until_ms = _time("--until", arguments.until, now)
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise WrongUse("--until", arguments.until, f"not after --since {arguments.since}")
    return since_ms, until_ms


def positions(texts: Iterable[str]) -> frozenset[tuple[int, int]]:
    """Return (partition, offset) of each text. Raises WrongUse."""
    try:
        return frozenset(map(moments.position, texts))
    except ValueError as exc:
        raise WrongUse("PARTITION:OFFSET", "", str(exc)) from exc


def kept_topics(settings: Settings) -> frozenset[str]:
    """Return the topics that only workers, or the writers in the topic table, may write: all but the input."""
    return frozenset(spec.name for spec in topic_table(settings.topics)) - {settings.topics.events}


def partition_count(kafka: KafkaSettings, option: str, topic: str) -> int:
    """Return how many partitions the topic has that `option` names. Raises WrongUse if there is no such topic."""
    with RangeReader(kafka, topic) as reader:
        if not reader.partitions:
            raise WrongUse(option, topic, "no such topic; it must be there already")
        return len(reader.partitions)


def _time(option: str, text: str | None, now: int) -> int | None:
    try:
        return None if text is None else moments.time_ms(text, now)
    except ValueError as exc:
        raise WrongUse(option, "", str(exc)) from exc
