"""`sluicegate policy explain`: show from its audit record how an event was decided."""

import argparse
import sys
from collections.abc import Iterator

import msgspec
from rich.text import Text

from topology.contract.events import AuditRecord
from topology.policy.in_force import Policies
from workers.commands.console.progress import Progress
from workers.commands.console.terminal import Terminal, printable
from workers.commands.policy.explaining import Explained, Step, explained
from workers.commands.policy.files import policies_of
from workers.commands.policy.recorded import Unreadable, Window, recorded
from workers.settings import Settings

LINE_CHARACTERS_MAX = 300
RECORDS_MAX = 100
"""The most audit records of one id that are shown: a conversation has one for each turn."""


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Explain every audit record of the event; 1 if there is none, or one cannot be reproduced. Raises WrongUse."""
    source = arguments.from_audit or settings.topics.audit
    policies = policies_of(settings, "--policy", arguments.policy)
    errors = Terminal("stderr")
    found = _matching(arguments.id, source, settings, errors)
    if not found:
        errors.say(f"sluicegate policy explain: no audit record of {printable(arguments.id, 128)} in {source}", "red")
        return 1
    made = [explained(record, policies) for record in found]
    for each in made:
        _show(each, policies, as_json=arguments.json)
    return 1 if any(each.is_repeatable is False for each in made) else 0


def _matching(wanted: str, source: str, settings: Settings, errors: Terminal) -> list[AuditRecord]:
    """Return the records with this event, conversation or audit id; an audit id has one, and ends the reading."""
    progress, unreadable = Progress(errors.say, "records read"), Unreadable()
    found: list[AuditRecord] = []
    with recorded(source, settings, Window(), unreadable) as records:
        for count, record in enumerate(records, start=1):
            progress.at(count)
            if wanted in {record.audit_id, record.event_id, record.conversation_id}:
                found.append(record)
            if record.audit_id == wanted or len(found) == RECORDS_MAX:
                break
    unreadable.say(errors)
    return found


def _show(what: Explained, policies: Policies, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
        return
    terminal = Terminal()
    for line in lines(what, policies):
        terminal.say(line)


def lines(what: Explained, policies: Policies) -> Iterator[Text]:
    """Yield the explanation for people, with a blank line at the end."""
    yield _line(f"event {what.event_id} of tenant {what.tenant_id}: {what.action}", "bold")
    yield _line(f"audit record {what.audit_id}, policy {what.policy_ref}, overlay {what.overlay_ref}", "dim")
    for number, step in enumerate(what.steps, start=1):
        yield from _step(number, step)
    yield _reproduced(what, policies)
    yield Text()


def _step(number: int, step: Step) -> Iterator[Text]:
    line = Text(f"{number:>3} {printable(step.what, LINE_CHARACTERS_MAX)}: ")
    yield line.append(printable(step.outcome, LINE_CHARACTERS_MAX), style="bold")
    for fact in step.facts:
        yield _line(fact, "", indent=6)
    width = max((len(rule.id) for rule in step.rules), default=0)
    for rule in step.rules:
        line = Text(f"      {printable(rule.id, LINE_CHARACTERS_MAX):<{width}}  ", style="cyan")
        yield line.append(printable(rule.words, LINE_CHARACTERS_MAX), style="default")


def _reproduced(what: Explained, policies: Policies) -> Text:
    if what.is_repeatable is None:
        overlay = policies.overlay_of(what.tenant_id).ref
        return _line(
            f"not reproduced: the policy at hand is {policies.bundle.ref}, the overlay {overlay}", "yellow", indent=4
        )
    if what.is_repeatable:
        return _line("reproduced from this record: the same plan, verdicts and action, bit for bit", "green", indent=4)
    return _line(
        "this record cannot be reproduced: plan, verdicts or action differ; it was altered, or this is a bug",
        "red",
        indent=4,
    )


def _line(text: str, style: str, *, indent: int = 0) -> Text:
    return Text(" " * indent + printable(text, LINE_CHARACTERS_MAX), style=style)
