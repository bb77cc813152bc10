"""`sluicegate dlq redrive`: show the letters that would be put back, and put them back with --yes."""

import argparse
from collections.abc import Iterable
from threading import Event

from workers.commands.console.progress import Pace, Progress, stopped_by_signals
from workers.commands.console.terminal import Terminal
from workers.commands.console.usage_error import WrongUse
from workers.commands.recovery.dlq_text import planned
from workers.commands.recovery.redriving import Consent, Redrive, Target, load_marks, spans_of, transactional_id
from workers.commands.recovery.selecting import kept_topics, now_ms, partition_count, selection_of, terms_of
from workers.commands.recovery.writer import CopyWriter
from workers.kafka.client import kafka_session
from workers.kafka.reader import RangeReader
from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Plan, and write if --yes was given. Return 1 if a named letter cannot be put back.

    Raises WrongUse, and KeyboardInterrupt if a signal ended it between two transactions.
    """
    topic, target = settings.topics.dead_letters, _target(arguments, settings)
    selection = selection_of(arguments)
    consent = Consent(poison=arguments.include_poison, answered=arguments.answered_too, again=arguments.again)
    terminal = Terminal()
    with (
        kafka_session(settings.kafka, "dlq redrive", topic) as kafka,
        RangeReader(kafka, topic) as reader,
    ):
        onto = Target(topic=target, partition_count=partition_count(kafka, "--to", target))
        spans = spans_of(reader, selection)
        work = Redrive(reader, spans, selection, consent, terms_of(settings), letters_max=arguments.limit)
        progress = Progress(Terminal("stderr").say, "letters read")
        plan = work.plan(load_marks(kafka, topic, spans), now_ms(), progress.at)
        missing = selection.positions - plan.found
        for line in planned(plan, topic, target, missing, again=arguments.again):
            terminal.say(line)
        total = plan.chosen.total()
        if total and not arguments.yes:
            terminal.say("nothing was written; --yes puts them back", "yellow")
        elif total:
            with stopped_by_signals() as stop, CopyWriter(kafka, transactional_id(kafka)) as writer:
                pace = Pace(arguments.rate, stop.wait)
                steps = work.write(kafka, writer, onto, pace, settings.limits.batch_events_max)
                follow(steps, total, stop, f"put back on {target}", "run the same command again to continue")
    return 1 if selection.positions and (missing or plan.refused) else 0


def follow(steps: Iterable[int], total: int, stop: Event, what: str, how_to_go_on: str) -> None:
    """Take the steps, report progress, and stop between two of them when asked to.

    Raises KeyboardInterrupt if it was stopped before the end.
    """
    terminal = Terminal()
    progress = Progress(Terminal("stderr").say, what)
    done = 0
    is_complete = False
    try:
        for step in steps:
            done += step
            progress.at(done, total)
            if stop.is_set():
                break
        else:
            is_complete = True
    finally:
        is_complete = is_complete or done >= total
        terminal.say(f"{what}: {done}" + ("" if is_complete else f" of {total}"), "green" if is_complete else "yellow")
        if not is_complete:
            terminal.say(how_to_go_on)
    if not is_complete:
        raise KeyboardInterrupt


def _target(arguments: argparse.Namespace, settings: Settings) -> str:
    target = arguments.to or settings.topics.events
    if target in kept_topics(settings):
        allowed = f"not one of the topics that workers write; the input is {settings.topics.events}"
        raise WrongUse("--to", target, allowed)
    return target
