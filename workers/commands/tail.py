"""`sluicegate tail`: audited responses as they are committed, for people or as JSON lines."""

import argparse
import sys

import msgspec
from rich.console import Console
from rich.text import Text

from topology.events import Action, AuditedResponse, parts_text
from topology.ports import Record
from workers.reader import TopicReader
from workers.settings import Settings

POLL_S = 0.5

TEXT_CHARACTERS_MAX = 160

STYLES = {
    Action.PUBLISHED: "green",
    Action.REDACTED: "cyan",
    Action.SAFE_COMPLETED: "yellow",
    Action.REFUSED: "magenta",
    Action.WITHHELD: "red",
}


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show responses until Ctrl-C, or until `--count` of them were shown."""
    console = Console()
    reader = TopicReader(settings.kafka, [settings.topics.audited], from_beginning=arguments.from_beginning)
    shown = 0
    try:
        while not arguments.count or shown < arguments.count:
            for record in reader.poll(POLL_S):
                if arguments.json:
                    sys.stdout.write((record.value or b"").decode() + "\n")
                    sys.stdout.flush()
                else:
                    console.print(line_of(record))
                shown += 1
                if shown == arguments.count:
                    break
    finally:
        reader.close()
    return 0


def line_of(record: Record) -> Text:
    """One response as a coloured line: action, mode, conversation, rules, the beginning of its text."""
    response = msgspec.json.decode(record.value or b"", type=AuditedResponse)
    words = " ".join(parts_text(response.parts).split())
    if len(words) > TEXT_CHARACTERS_MAX:
        words = words[: TEXT_CHARACTERS_MAX - 1] + "…"
    line = Text()
    line.append(f"{response.action.value:<14}", style=STYLES[response.action])
    line.append(f" {response.mode.value:<18}", style="dim")
    line.append(f" {response.conversation_id:<20.20}")
    line.append(f" {','.join(response.reason_codes):<12.24} ", style="dim")
    line.append(words)
    return line
