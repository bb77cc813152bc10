"""The output of the demo: decisions as they are made, then tables of how everything ended, and the census."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import quantiles

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from topology.contract.events import Action, AuditedResponse, AuditRecord, ConversationEvent
from topology.contract.headers import last_header
from topology.contract.names import ActionReason, Header, StageName
from topology.contract.records import Record
from workers.commands.console.answers import STYLES
from workers.commands.demo.census import Census
from workers.commands.demo.lateness import Lateness
from workers.commands.demo.story.examples import examples
from workers.commands.demo.story.outcomes import INDENT, Decision, told, two_lines
from workers.development.otlp_receiver import ReceivedSpan

LINES_SHOWN = 16

SPANS_SHOWN = ("process ", "guard ", "chat ", "classification", "bias", "logging", "llm_request", "commit ")
"""The spans whose latencies are shown, each by the beginning of its name."""


TIME_SETTINGS = {
    ActionReason.DEADLINE.value: "limits.deadline_default_s",
    ActionReason.OVERLOADED.value: "limits.deadline_default_s",
    StageName.ASSESS.value: "limits.assess_timeout_s",
    "generator": "generation.request_timeout_s",
}
"""For what can be late, the setting that bounds it; each check has its own."""


class LiveView:
    """The run as it is shown live: counts, and the last decisions, two lines each."""

    def __init__(self, expected_count: int, events: Iterable[ConversationEvent]) -> None:
        self._expected_count = expected_count
        self._events = {event.event_id: event for event in events}
        self._responses: dict[str, AuditedResponse] = {}
        self._audits: dict[str, AuditRecord] = {}
        self._dead_letters = 0
        self._lines: list[Text] = []
        self.decisions: dict[str, Decision] = {}
        self.note = ""

    @property
    def answered_count(self) -> int:
        """Return the number of answered events whose audit record was seen, too."""
        return len(self.decisions)

    @property
    def dead_letter_count(self) -> int:
        """Return the number of dead letters so far."""
        return self._dead_letters

    def add_response(self, record: Record) -> tuple[Text, ...]:
        """Take a response; return its two lines if its audit record is there."""
        response = msgspec.json.decode(record.value or b"", type=AuditedResponse)
        self._responses.setdefault(response.event_id, response)
        return self._decided(response.event_id)

    def add_audit(self, record: Record) -> tuple[Text, ...]:
        """Take an audit record; return its two lines if its response is there."""
        audit = msgspec.json.decode(record.value or b"", type=AuditRecord)
        self._audits.setdefault(audit.event_id, audit)
        return self._decided(audit.event_id)

    def add_dead_letter(self, record: Record) -> tuple[Text, ...]:
        """Count a dead letter and return its line."""
        reason = last_header(record.headers, Header.REASON) or "?"
        stage = last_header(record.headers, Header.STAGE) or "?"
        detail = last_header(record.headers, Header.DETAIL)
        what = "a broken record" if stage == StageName.DECODE else "an event"
        self._dead_letters += 1
        told = f"{what}: {reason.replace('_', ' ')}" + (f": {detail}" if detail else "")
        return self._show(Text(f"✉ {'dead letter':<{INDENT - 2}}{told}", style="bright_black"))

    def _decided(self, event_id: str) -> tuple[Text, ...]:
        known = event_id in self._responses and event_id in self._audits and event_id in self._events
        if not known or event_id in self.decisions:
            return ()
        decision = Decision(self._events[event_id], self._responses[event_id], self._audits[event_id])
        self.decisions[event_id] = decision
        return self._show(*two_lines(decision))

    def _show(self, *lines: Text) -> tuple[Text, ...]:
        self._lines = [*self._lines, *lines][-LINES_SHOWN:]
        return lines

    def __rich__(self) -> RenderableType:
        """Return the counts, with the last lines below."""
        actions = Counter(decision.response.action for decision in self.decisions.values())
        counts = Text(f"{self.answered_count + self._dead_letters} of {self._expected_count}:")
        for action in filter(actions.get, Action):
            counts.append(f"  {actions[action]} {action.value.replace('_', ' ')}", style=STYLES[action])
        counts.append(f"  {self._dead_letters} broken", style="bright_black")
        lines = [counts, Text(self.note, style="bold"), *(line.copy() for line in self._lines)]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)


def decode_audits(records: Iterable[Record]) -> list[AuditRecord]:
    """Decode audit records whose values are JSON."""
    decoder = msgspec.json.Decoder(AuditRecord)
    return [decoder.decode(record.value or b"") for record in records]


def decode_responses(records: Iterable[Record]) -> list[AuditedResponse]:
    """Decode audited responses whose values are JSON."""
    decoder = msgspec.json.Decoder(AuditedResponse)
    return [decoder.decode(record.value or b"") for record in records]


def print_story(console: Console, decisions: Mapping[str, Decision], seed: int) -> None:
    """Print the pinned examples in their order, each with its drafts; one that was not answered in time is named."""
    for example in examples():
        event_id = example.event(seed).event_id
        if (decision := decisions.get(event_id)) is None:
            console.print(f"{example.shows}: not answered in time ({event_id})", style="red")
            continue
        for line in told(decision, example, console.width):
            console.print(line, no_wrap=True, overflow="ellipsis")
        if decision.response.action is not example.action:
            what = f"{example.action.value} was expected here; sluicegate policy explain says why it is not"
            console.print(Text(" " * INDENT + what, style="red"), no_wrap=True, overflow="ellipsis")


def print_tables(console: Console, audits: Sequence[AuditRecord]) -> None:
    """Print the actions by the writer of the last draft."""
    console.print(_actions(audits))


def detailed_tables(
    console: Console, census: Census, audits: Sequence[AuditRecord], spans: Sequence[ReceivedSpan]
) -> None:
    """Print categories, latencies and dead letters."""
    found = Counter[str](finding.category for audit in audits if audit.labels for finding in audit.labels.findings)
    found["none"] = sum(1 for audit in audits if audit.labels and not audit.labels.findings)
    console.print(_counts("requests by category, as labelled", "category", found))
    console.print(_latencies(spans))
    console.print(_counts("dead letters", "reason", census.dead_letter_reasons))


def print_census(console: Console, census: Census, second_count: int | None) -> None:
    """Print the census: records sent, how they ended, and every fault by name."""
    rejected = census.actions.get(Action.REJECTED.value, 0)
    console.print(
        f"census: {census.sent_count} sent, {census.answered_count - rejected} answered, {census.dead_lettered_count} "
        f"dead letters ({rejected} of them answered, too: rejected), {census.review_count} for review"
    )
    if second_count is not None:
        console.print(f"        Kafka's own console consumer (read_committed) counts {second_count} responses")
    for name in ("lost", "duplicated", "unaudited", "out_of_order", "wrong_reason", "unexpected"):
        faults: tuple[str, ...] = getattr(census, name)
        shown = ", ".join(faults[:5]) + (" …" if len(faults) > 5 else "")
        console.print(f"        {name.replace('_', ' ')}: {len(faults)} {shown}", style="red" if faults else "green")
    verdict = "every record ended as the contract says, exactly once" if census.is_exactly_once else "the census FAILED"
    console.print(verdict, style="bold green" if census.is_exactly_once else "bold red")


def print_lateness(console: Console, late: Lateness) -> None:
    """Print how many answers were withheld for want of time, what that means, and what to do if they are too many."""
    if not late.late_count:
        console.print("withheld for want of time: 0", style="green")
        return
    style = "red" if late.is_fault else "yellow"
    share = f"{late.late_count} of {late.answered_count} answers ({100 * late.share:.1f} %)"
    stages = ", ".join(f"{stage} {count}" for stage, count in late.stages.items())
    why = "this machine is busy" if late.load.is_busy_with_others else "this machine was too slow for the settings"
    load = late.load
    cause = f"a step was late ({stages}): {why}"
    used = f"others used {100 * load.others_share:.0f} % of the CPU time"
    lines = [f"{share} were withheld because {cause}; these say nothing about the policy."]
    lines.append(f"        load average {load.average:.1f} on {load.cores} cores; {used}")
    if late.is_fault:
        lines.append(f"        {_advice(late)}")
    for line in lines:
        console.print(Text(line, style=style))


def _advice(late: Lateness) -> str:
    bound = f"at most {100 * late.share_max:.0f} % may be late, so this run FAILED"
    if late.load.is_busy_with_others:
        return f"{bound}: stop the other work, and run the demo again"
    bounds = ", ".join(TIME_SETTINGS.get(stage, f"stages.{stage}.timeout_s") for stage in late.stages)
    return f"{bound}: raise {bounds}"


def _actions(audits: Sequence[AuditRecord]) -> Table:
    """Return a table with a column for each writer of a last judged draft."""
    counts = Counter((audit.action, _writer(audit)) for audit in audits)
    writers = sorted({writer for _, writer in counts})
    table = Table(title="actions, by the writer of the last draft", title_justify="left")
    table.add_column("action")
    for writer in writers:
        table.add_column(writer, justify="right")
    for action in Action:
        table.add_row(action.value, *(str(counts[action, writer]) for writer in writers))
    return table


def _writer(audit: AuditRecord) -> str:
    """Return the model of the last draft, or its source if no model is named."""
    last = audit.attempts[-1] if audit.attempts else None
    return (last.model or last.source) if last else "no draft"


def _counts(title: str, name: str, counts: Mapping[str, int]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(name)
    table.add_column("count", justify="right")
    for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(key, str(count))
    return table


def _latencies(spans: Sequence[ReceivedSpan]) -> Table:
    taken: dict[str, list[float]] = {}
    for span in spans:
        if span.name.startswith(SPANS_SHOWN):
            taken.setdefault(span.name, []).append((span.end_ns - span.start_ns) / 1e6)
    table = Table(title="latency by span (ms)", title_justify="left")
    for column in ("span", "count", "median", "95 %", "longest"):
        table.add_column(column, justify="left" if column == "span" else "right")
    for name, values in sorted(taken.items(), key=lambda item: -max(item[1])):
        cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
        table.add_row(name, str(len(values)), f"{cuts[9]:.1f}", f"{cuts[18]:.1f}", f"{max(values):.1f}")
    return table
