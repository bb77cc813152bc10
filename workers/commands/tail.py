"""`sluicegate tail`: audited responses as they are committed, for people or as JSON lines."""

import argparse
import sys

import msgspec
from rich.text import Text

from topology.codec import encode
from topology.events import Action, AuditedResponse, parts_text
from topology.headers import last_header
from topology.names import CONTENT_TYPE_MSGPACK, Header
from topology.ports import Record
from workers.kafka_session import kafka_session
from workers.reader import TopicReader
from workers.settings import Settings
from workers.terminal import Terminal, printable

POLL_S = 0.5

TEXT_CHARACTERS_MAX = 160
ID_CHARACTERS_MAX = 20
CODES_CHARACTERS_MAX = 24

STYLES = {
    Action.PUBLISHED: "green",
    Action.REDACTED: "cyan",
    Action.SAFE_COMPLETED: "yellow",
    Action.REFUSED: "magenta",
    Action.WITHHELD: "red",
}

_JSON = msgspec.json.Decoder(AuditedResponse)
_MSGPACK = msgspec.msgpack.Decoder(AuditedResponse)


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show responses until Ctrl-C, or until `--count` of them were shown. What is no response is named, not shown."""
    topic = settings.topics.audited
    errors = Terminal("stderr")
    output = Terminal()
    with kafka_session(settings.kafka, "tail", topic) as kafka:
        reader = TopicReader(kafka, [topic], from_beginning=arguments.from_beginning)
        shown = 0
        try:
            while not arguments.count or shown < arguments.count:
                output.require_reader()
                for record in reader.poll(POLL_S):
                    if (response := response_of(record)) is None:
                        errors.say(f"{record.topic}-{record.partition}@{record.offset} is no audited response", "red")
                        continue
                    _show(response, output, as_json=arguments.json)
                    shown += 1
                    if shown == arguments.count:
                        break
        finally:
            reader.close()
    return 0


def response_of(record: Record) -> AuditedResponse | None:
    """The response in a record of the audited topic; None where there is none."""
    content_type = last_header(record.headers, Header.CONTENT_TYPE) or ""
    decoder = _MSGPACK if content_type.startswith(CONTENT_TYPE_MSGPACK) else _JSON
    try:
        return decoder.decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _show(response: AuditedResponse, output: Terminal, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(encode(response).decode() + "\n")
        sys.stdout.flush()
    else:
        output.say(line_of(response))


def line_of(response: AuditedResponse) -> Text:
    """One response as a coloured line: action, mode, conversation, rules, the beginning of its text."""
    line = Text()
    line.append(f"{response.action.value:<14}", style=STYLES[response.action])
    line.append(f" {response.mode.value:<18}", style="dim")
    line.append(f" {printable(response.conversation_id, ID_CHARACTERS_MAX):<{ID_CHARACTERS_MAX}}")
    codes = printable(",".join(response.reason_codes), CODES_CHARACTERS_MAX)
    line.append(f" {codes:<12} ", style="dim")
    line.append(printable(parts_text(response.parts), TEXT_CHARACTERS_MAX))
    return line
