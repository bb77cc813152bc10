"""The output of the demo: decisions as they are made, then tables of how everything ended."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import quantiles

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from topology.contract.events import Action, AuditedResponse, AuditRecord, ConversationEvent, parts_text, request_text
from topology.contract.headers import last_header
from topology.contract.names import ActionReason, Header, StageName
from topology.contract.records import Record
from workers.commands.console.answers import STYLES, TEXT_CHARACTERS_MAX, line_of
from workers.commands.console.terminal import printable
from workers.commands.demo.census import Census
from workers.commands.demo.lateness import LATE_SHARE_MAX, Lateness
from workers.development.otlp_receiver import ReceivedSpan

LINES_SHOWN = 12
ANSWERS_SHOWN = 4

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
    """The run as it is shown live: counts, and the last decisions."""

    def __init__(self, expected_count: int) -> None:
        self._expected_count = expected_count
        self._actions: Counter[str] = Counter()
        self._dead_letters = 0
        self._lines: list[Text] = []
        self.note = ""

    @property
    def answered_count(self) -> int:
        """Return the number of events answered so far; what is rejected counts among the dead letters."""
        return self._actions.total() - self._actions[Action.REJECTED.value]

    @property
    def dead_letter_count(self) -> int:
        """Return the number of dead letters so far."""
        return self._dead_letters

    def add_response(self, record: Record) -> Text:
        """Count a response and return its line."""
        response = msgspec.json.decode(record.value or b"", type=AuditedResponse)
        line = line_of(response)
        self._actions[response.action.value] += 1
        self._lines = [*self._lines, line][-LINES_SHOWN:]
        return line

    def add_dead_letter(self, record: Record) -> Text:
        """Count a dead letter and return its line."""
        reason = last_header(record.headers, Header.REASON) or "?"
        stage = last_header(record.headers, Header.STAGE) or "?"
        line = Text(f"{'dead letter':<14} {stage:<18} {reason}", style="bright_black")
        self._dead_letters += 1
        self._lines = [*self._lines, line][-LINES_SHOWN:]
        return line

    def __rich__(self) -> RenderableType:
        """Return the counts, with the last lines below."""
        counts = Text(f"{self.answered_count + self._dead_letters} of {self._expected_count}  ")
        for action in Action:
            counts.append(f"{action.value} {self._actions[action.value]}  ", style=STYLES[action])
        counts.append(f"dead letters {self._dead_letters}", style="bright_black")
        return Group(counts, Text(self.note, style="bold"), *self._lines)


def decode_audits(records: Iterable[Record]) -> list[AuditRecord]:
    """Decode audit records whose values are JSON."""
    decoder = msgspec.json.Decoder(AuditRecord)
    return [decoder.decode(record.value or b"") for record in records]


def decode_responses(records: Iterable[Record]) -> list[AuditedResponse]:
    """Decode audited responses whose values are JSON."""
    decoder = msgspec.json.Decoder(AuditedResponse)
    return [decoder.decode(record.value or b"") for record in records]


def print_tables(
    console: Console, census: Census, audits: Sequence[AuditRecord], spans: Sequence[ReceivedSpan]
) -> None:
    """Print actions by the writer of the last draft, categories, latencies and dead letters."""
    console.print(_actions(audits))
    found = Counter[str](finding.category for audit in audits if audit.labels for finding in audit.labels.findings)
    found["none"] = sum(1 for audit in audits if audit.labels and not audit.labels.findings)
    console.print(_counts("requests by category, as labelled", "category", found))
    console.print(_latencies(spans))
    console.print(_counts("dead letters", "reason", census.dead_letter_reasons))


def print_answers(
    console: Console, model: str, events: Sequence[ConversationEvent], responses: Sequence[AuditedResponse]
) -> None:
    """Print the first few questions that the model answered, each with the published answer."""
    response_of = {response.event_id: response for response in responses}
    console.print(f"some answers of {model}:", style="bold")
    answered = [event for event in events if event.candidate is None and event.event_id in response_of]
    for event in answered[:ANSWERS_SHOWN]:
        lines = (
            f"  {printable(request_text(event), TEXT_CHARACTERS_MAX)}",
            f"    {printable(parts_text(response_of[event.event_id].parts), TEXT_CHARACTERS_MAX)}",
        )
        console.print(*map(Text, lines), sep="\n", no_wrap=True, overflow="ellipsis")


def print_rejudged(
    console: Console,
    events: Sequence[ConversationEvent],
    audits: Sequence[AuditRecord],
    responses: Sequence[AuditedResponse],
) -> None:
    """Print the question, every draft with its verdict, and the published answer of each event, in their order."""
    audit_of = {audit.event_id: audit for audit in audits}
    response_of = {response.event_id: response for response in responses}
    console.print("judged again (a draft that was held is in the audit record alone, redacted):", style="bold")
    for event in events:
        if event.event_id in response_of and event.event_id in audit_of:
            response = response_of[event.event_id]
            action = Text(f"    {response.action.value}: ", STYLES[response.action])
            lines = [
                Text(f"  {printable(request_text(event), TEXT_CHARACTERS_MAX)}"),
                *_drafts(audit_of[event.event_id]),
            ]
            lines.append(action + Text(printable(parts_text(response.parts), TEXT_CHARACTERS_MAX), "default"))
            console.print(*lines, sep="\n", no_wrap=True, overflow="ellipsis")


def _drafts(audit: AuditRecord) -> Iterator[Text]:
    """Yield two lines for each draft: its verdict with findings above their ceiling, and its beginning."""
    ceilings = audit.plan.ceilings if audit.plan else {}
    for number, attempt in enumerate(audit.attempts, 1):
        verdict = attempt.verdict
        above = ", ".join(
            f"{finding.category} at detail {finding.detail_hi}, allowed {ceilings[finding.category]}"
            for finding in attempt.labels.findings
            if finding.detail_hi > ceilings.get(finding.category, finding.detail_hi)
        )
        yield Text(f"    draft {number}: {verdict.verdict.value} by {verdict.rule_ids[0]}; {above or 'within limits'}")
        yield Text(
            f"      {printable(attempt.draft.redacted, TEXT_CHARACTERS_MAX) if attempt.draft else '(not logged)'}",
            "bright_black",
        )


def print_census(console: Console, census: Census, second_count: int | None) -> None:
    """Print the census: records sent, how they ended, and every fault by name."""
    console.print(
        f"census: {census.sent_count} sent, {census.answered_count} answered, "
        f"{census.dead_lettered_count} dead letters, {census.review_count} for review"
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
    """Print how many answers were withheld for want of time; more than none with the load, too many with advice."""
    if not late.late_count:
        console.print("withheld for want of time: 0", style="green")
        return
    style = "red" if late.is_fault else "yellow"
    stages = ", ".join(f"{stage} {count}" for stage, count in late.stages.items())
    share = f"{late.late_count} of {late.answered_count} answers ({100 * late.share:.1f} %)"
    console.print(f"withheld for want of time: {share}; late: {stages}", style=style, soft_wrap=True)
    load = late.load
    console.print(
        f"        load average {load.average:.1f} against {load.cores} cores; "
        f"other processes used {100 * load.others_share:.0f} % of the CPU time",
        style=style,
        soft_wrap=True,
    )
    if late.is_too_late:
        console.print(f"        {_advice(late)}", style=style, soft_wrap=True)


def _advice(late: Lateness) -> str:
    bound = f"at most {100 * LATE_SHARE_MAX:.0f} % may be late"
    if not late.is_fault:
        return f"{bound}, but other work kept this machine busy: stop it, and run the demo again"
    bounds = ", ".join(TIME_SETTINGS.get(stage, f"stages.{stage}.timeout_s") for stage in late.stages)
    return f"{bound}: the demo FAILED; this machine needs more time than the settings give: raise {bounds}"


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
