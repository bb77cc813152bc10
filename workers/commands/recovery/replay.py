"""`sluicegate replay`: a range of the input, copied onto another topic or read again by another consumer group."""

import argparse
import re

from workers.commands.console import times as moments
from workers.commands.console.progress import Pace, stopped_by_signals
from workers.commands.console.terminal import Terminal
from workers.commands.console.times import Moment
from workers.commands.console.usage_error import WrongUse
from workers.commands.recovery.dlq_redrive import follow
from workers.commands.recovery.replaying import Replay, command, resolved, spelt, transactional_id
from workers.commands.recovery.selecting import kept_topics, now_ms, partition_count
from workers.commands.recovery.writer import CopyWriter
from workers.kafka.client import kafka_session
from workers.kafka.groups import GroupOffsets
from workers.kafka.reader import RangeReader, Span, Spans
from workers.kafka.topics import create_as_input
from workers.settings import Settings

_PARTITIONS = re.compile(r"[0-9]{1,10}(,[0-9]{1,10})*")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Replay, or say what would be replayed. Return 1 if the group is in use.

    Raises WrongUse, and KeyboardInterrupt if a signal ended it between two transactions.
    """
    return _move_group(arguments, settings) if arguments.into is None else _copy(arguments, settings)


def _copy(arguments: argparse.Namespace, settings: Settings) -> int:
    into = _target(arguments, settings)
    if arguments.force:
        raise WrongUse("--force", "", "only with --group")
    start, end, partitions = _range(arguments)
    topic, terminal = settings.topics.events, Terminal()
    with (
        kafka_session(settings.kafka, "replay", topic) as kafka,
        RangeReader(kafka, topic) as reader,
    ):
        onto_count = _onto_count(arguments, settings, reader, terminal)
        wanted = filled(resolved(reader, start, end, partitions))
        work = Replay(kafka, reader, wanted, into, onto_count, again=arguments.again)
        job = work.job()
        _say_plan(terminal, topic, into, wanted, job.left())
        if arguments.dry_run or not wanted:
            terminal.say("nothing was written" if arguments.dry_run else "nothing to replay")
            return 0
        if job.is_done:
            terminal.say("all of it was replayed before; --again replays it once more")
            return 0
        with stopped_by_signals() as stop, CopyWriter(kafka, transactional_id(kafka, into)) as writer:
            steps = work.write(writer, Pace(arguments.rate, stop.wait), settings.limits.batch_events_max)
            how_to_go_on = f"to continue: sluicegate replay {command(wanted, into)}"
            follow(steps, _count(job.left()), stop, f"replayed into {into}", how_to_go_on)
        if work.left_out_count:
            terminal.say(f"left out, because they cannot be read: {work.left_out_count}", "yellow")
    return 0


def _onto_count(arguments: argparse.Namespace, settings: Settings, reader: RangeReader, terminal: Terminal) -> int:
    """Return how many partitions the target has; with --create, make it if it is not there. Raises WrongUse."""
    if not arguments.create:
        return partition_count(settings.kafka, "--into", arguments.into)
    if arguments.dry_run:
        return len(reader.partitions)
    create_as_input(settings.kafka, settings.topics, arguments.into, len(reader.partitions), terminal.say)
    return partition_count(settings.kafka, "--into", arguments.into)


def _move_group(arguments: argparse.Namespace, settings: Settings) -> int:
    group = arguments.group
    if group == settings.kafka.group_id and not arguments.force:
        allowed = "the workers' own group (kafka.group_id): they would answer all of it again; --force does it"
        raise WrongUse("--group", group, allowed)
    for option in ("to", "rate", "again", "into_input", "create"):
        if getattr(arguments, option):
            raise WrongUse(f"--{option.replace('_', '-')}", "", "only with --into; a group reads on to the end")
    start, _, partitions = _range(arguments)
    topic, terminal = settings.topics.events, Terminal()
    with (
        kafka_session(settings.kafka, "replay", topic) as kafka,
        RangeReader(kafka, topic) as reader,
        GroupOffsets(kafka, group, topic) as offsets,
    ):
        ranges = resolved(reader, start, None, partitions)
        held = reader.bounds()
        starts = {partition: max(span.start, held[partition].start) for partition, span in ranges.items()}
        offsets.require_idle()
        others = frozenset(reader.partitions) - starts.keys() - offsets.known()
        _say_plan(terminal, topic, f"group {group}", filled(ranges), filled(ranges))
        if others:
            without, reset = ",".join(map(str, sorted(others))), settings.kafka.auto_offset_reset
            terminal.say(
                f"note: the group has no offset for {without} and starts there at the {reset} (kafka.auto_offset_reset)"
            )
        if arguments.dry_run or not starts:
            terminal.say("nothing was changed")
            return 0
        offsets.set(starts)
    terminal.say(f"group {group} is now at {spelt(starts)}", "green")
    terminal.say(f"to read from there: SLUICEGATE_KAFKA__GROUP_ID={group} sluicegate run")
    terminal.say(
        f"its answers go to {settings.topics.audited}, beside those that were given; topics.* names other topics"
    )
    return 0


def _target(arguments: argparse.Namespace, settings: Settings) -> str:
    into, topics = arguments.into, settings.topics
    if into == topics.events and not arguments.into_input:
        allowed = "the input itself: every event would be answered twice; --into-input does it"
        raise WrongUse("--into", into, allowed)
    if into in kept_topics(settings):
        raise WrongUse("--into", into, "not one of the topics that workers write")
    return into


def _range(arguments: argparse.Namespace) -> tuple[Moment, Moment | None, frozenset[int]]:
    now = now_ms()
    start = _moment("--from", arguments.start, now)
    end = None if arguments.to is None else _moment("--to", arguments.to, now)
    if isinstance(start, int) and isinstance(end, int) and start >= end:
        raise WrongUse("--to", str(arguments.to), f"not after --from {arguments.start}")
    return start, end, _partitions(arguments.partitions)


def _moment(option: str, text: str, now: int) -> Moment:
    try:
        return moments.moment(text, now)
    except ValueError as exc:
        raise WrongUse(option, "", str(exc)) from exc


def _partitions(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset()
    if not _PARTITIONS.fullmatch(text):
        raise WrongUse("--partitions", text, "numbers with commas between them, as in 0,1,2")
    return frozenset(map(int, text.split(",")))


def filled(spans: Spans) -> dict[int, Span]:
    """Return the spans that are not empty."""
    return {partition: span for partition, span in spans.items() if span.start < span.end}


def _say_plan(terminal: Terminal, topic: str, into: str, wanted: Spans, left: Spans) -> None:
    """Say what is to be done. It counts offsets; transactions and compaction leave some without records."""
    terminal.say(f"from {topic} to {into}: {_count(left)} records at most")
    for partition, span in wanted.items():
        open_from = left[partition].start if partition in left else span.end
        done = f", done up to {open_from}" if open_from > span.start else ""
        terminal.say(f"  partition {partition}: {span.start} to {span.end - 1}, {span.end - span.start} at most{done}")


def _count(spans: Spans) -> int:
    return sum(span.end - span.start for span in spans.values())
