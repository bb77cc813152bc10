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
from topology.contract.streams import StreamRecord
from workers.commands.console.answers import STYLES
from workers.commands.demo.census import Census
from workers.commands.demo.lateness import Lateness
from workers.commands.demo.story.examples import Example
from workers.commands.demo.story.outcomes import INDENT, Decision, told, two_lines
from workers.commands.demo.story.streams import StreamTold
from workers.development.otlp_receiver import ReceivedSpan
from workers.settings import TopicSettings

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
    """The run as it is shown live: counts, and the last decisions, two lines each.

    It is complete once each of `events` is answered, and each other record of `expected_count` is a dead letter.
    """

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
    def event_count(self) -> int:
        """Return the number of events that must be answered."""
        return len(self._events)

    @property
    def is_complete(self) -> bool:
        """Return whether every record has ended."""
        letters_due = self._expected_count - self.event_count
        return self.answered_count >= self.event_count and self._dead_letters >= letters_due

    def add(self, record: Record, topics: TopicSettings) -> Sequence[Text]:
        """Take a record of one of these topics; return what there is to say now."""
        add = {
            topics.audited: self.add_response,
            topics.audit: self.add_audit,
            topics.dead_letters: self.add_dead_letter,
            topics.stream: self.add_segment,
        }[record.topic]
        return add(record)

    def add_segment(self, record: Record) -> tuple[Text, ...]:
        """Take a record of a stream, of which nothing is said here."""
        del record
        return ()

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
        return self._show(*self._told(decision))

    def _told(self, decision: Decision) -> tuple[Text, ...]:
        return two_lines(decision)

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


class StreamView(LiveView):
    """One example whose answer is shown as it streams: each segment when it arrives, then how it ended."""

    def __init__(self, example: Example, seed: int, width: int) -> None:
        event = example.event(seed)
        super().__init__(1, [event])
        self._event_id = event.event_id
        self._stream = StreamTold(example, width)

    def begin(self) -> tuple[Text, ...]:
        """Return what the example shows, and its question."""
        return self._stream.begin()

    def add_segment(self, record: Record) -> tuple[Text, ...]:
        """Take a record of the stream topic; return the segment, if it is shown."""
        found = msgspec.json.decode(record.value or b"", type=StreamRecord)
        return self._stream.add(found, record.timestamp_ms) if found.event_id == self._event_id else ()

    def add_response(self, record: Record) -> tuple[Text, ...]:
        """Take a response, which ends the stream."""
        self._stream.answered(record.timestamp_ms)
        return super().add_response(record)

    def _told(self, decision: Decision) -> tuple[Text, ...]:
        return self._stream.end(decision)


def decode_audits(records: Iterable[Record]) -> list[AuditRecord]:
    """Decode audit records whose values are JSON."""
    decoder = msgspec.json.Decoder(AuditRecord)
    return [decoder.decode(record.value or b"") for record in records]


def decode_responses(records: Iterable[Record]) -> list[AuditedResponse]:
    """Decode audited responses whose values are JSON."""
    decoder = msgspec.json.Decoder(AuditedResponse)
    return [decoder.decode(record.value or b"") for record in records]


def print_story(console: Console, decisions: Mapping[str, Decision], shown: Sequence[Example], seed: int) -> None:
    """Print pinned examples in their order, each with its drafts; one that was not answered in time is named."""
    for example in shown:
        decision = decisions.get(example.event(seed).event_id)
        print_lines(console, () if decision is None else told(decision, example, console.width))
        print_lines(console, faults(decision, example, seed))


def faults(decision: Decision | None, example: Example, seed: int) -> list[Text]:
    """Return a line if an example was not answered in time, or ended otherwise than it was meant to."""
    if decision is None:
        return [Text(f"{example.shows}: not answered in time ({example.event(seed).event_id})", style="red")]
    if decision.response.action is example.action:
        return []
    what = f"{example.action.value} was expected here; sluicegate policy explain says why it is not"
    return [Text(" " * INDENT + what, style="red")]


def print_lines(console: Console, lines: Iterable[Text]) -> None:
    """Print lines, each cut to the width of the terminal."""
    for line in lines:
        console.print(line, no_wrap=True, overflow="ellipsis")


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
