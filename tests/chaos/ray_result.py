"""What a run of the Ray form found: two readers' census, why answers were withheld, and what must not be."""

from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from tests.chaos.census import (
    KAFKA_PYTHON,
    LIBRDKAFKA,
    Count,
    Output,
    committed_positions,
    count,
    read_with_kafka_python,
    read_with_librdkafka,
    sent_records,
    uncommitted,
)
from tests.chaos.ray_faults import ORPHAN_S
from topology.contract.errors import DeadLetterReason
from topology.contract.events import Action, AuditRecord
from topology.contract.labels import Outcome
from topology.contract.names import DraftSource
from topology.contract.records import Record
from workers.kafka.reader import read_topic
from workers.settings import Settings

READ_S = 60.0
UNEXPLAINED = "unexplained"

_audit = msgspec.json.Decoder(AuditRecord)


class RayResult(Struct, frozen=True, kw_only=True):
    """One run. `violations` is empty where everything held.

    `withheld` counts withheld answers by reason, `by_model` answers with a draft of the model's. `silence_s` is the
    longest time without any new answer, `outages_s` how long the model was away each time, `orphan_s` how long
    an actor outlived its supervisor at most.
    """

    seed: int
    took_s: float
    faults: dict[str, int]
    fault_count: int
    acknowledged: int
    counts: tuple[Count, ...]
    uncommitted: int
    actions: dict[str, int]
    by_model: int
    withheld: dict[str, int]
    silence_s: float
    outages_s: tuple[float, ...]
    orphan_s: float
    drain_exit_code: int
    supervisor_exits: tuple[int, ...] = ()
    left_running: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()


class Found(Struct, frozen=True, kw_only=True):
    """What stands in the topics."""

    counts: tuple[Count, ...]
    uncommitted: int
    actions: dict[str, int]
    by_model: int
    withheld: dict[str, int]


def look(settings: Settings) -> Found:
    """Read every topic from its beginning, by two clients."""
    kafka, topics = settings.kafka, settings.topics
    sent = sent_records(read_topic(kafka, topics.events, READ_S))
    first: Output = read_with_kafka_python(kafka, topics)
    second: Output = read_with_librdkafka(kafka, topics)
    audits = _decoded(first.audit)
    return Found(
        counts=(count(KAFKA_PYTHON, sent, first), count(LIBRDKAFKA, sent, second)),
        uncommitted=len(uncommitted(sent, committed_positions(kafka, topics.events))),
        actions=dict(Counter(record.action.value for record in audits)),
        by_model=sum(any(attempt.source is DraftSource.GENERATOR for attempt in record.attempts) for record in audits),
        withheld=dict(Counter(why_withheld(record) for record in audits if record.action is Action.WITHHELD)),
    )


def _decoded(audit: Sequence[Record]) -> list[AuditRecord]:
    return [_audit.decode(record.value or b"") for record in audit]


def why_withheld(record: AuditRecord) -> str:
    """`deadline`, three kills that hit it, or the checks that could not tell; anything else is no fault's work."""
    if "deadline" in record.reason_codes:
        return "deadline"
    if record.reason_codes == (DeadLetterReason.POISON.value,):
        return "ran in three processes that were killed"
    guards = [*record.guards, *(record.attempts[-1].labels.guards if record.attempts else ())]
    failed = sorted({f"{run.guard} {run.outcome.value}" for run in guards if run.outcome is not Outcome.OK})
    return ", ".join(failed) if failed else f"{UNEXPLAINED}: {' '.join(record.reason_codes)}"


def violations_of(result: RayResult, faults_wanted: int) -> tuple[str, ...]:
    """Everything that must not be, in words."""
    found = [f"{one.reader}: {_examples(one)}" for one in result.counts if one.fault_count]
    found += [
        f"{one.reader} read {one.sent} of {result.acknowledged} events"
        for one in result.counts
        if one.sent < result.acknowledged
    ]
    found += [f"{number} withheld, {why}" for why, number in result.withheld.items() if why.startswith(UNEXPLAINED)]
    found += [f"the supervisor ended by itself with {code}" for code in result.supervisor_exits]
    found += [f"left running: {name}" for name in result.left_running]
    if result.uncommitted:
        found.append(f"{result.uncommitted} events are answered and not committed")
    if result.orphan_s > ORPHAN_S:
        found.append(f"an actor outlived its supervisor by {result.orphan_s:g} s")
    if result.drain_exit_code != 0:
        found.append(f"the drain ended with {result.drain_exit_code}")
    if result.fault_count < faults_wanted:
        found.append(f"only {result.fault_count} of {faults_wanted} faults could be done")
    return tuple(found)


def summary(result: RayResult) -> str:
    """The run as lines for people."""
    rows = [("faults", f"{result.fault_count}: {_listed(result.faults)}")]
    rows += [(one.reader, _counted(one)) for one in result.counts]
    rows += [
        ("actions", f"{_listed(result.actions)}; {result.by_model} drafted by the model"),
        ("withheld because", _listed(result.withheld) or "none was"),
        ("longest silence", f"{result.silence_s:.1f} s"),
        ("model was away", ", ".join(f"{away_s:.0f} s" for away_s in result.outages_s) or "never"),
        ("longest orphan", f"{result.orphan_s:.1f} s"),
        ("drain", f"exit code {result.drain_exit_code}"),
        ("took", f"{result.took_s:.0f} s, seed {result.seed}"),
        ("violations", "; ".join(result.violations) or "none"),
    ]
    return "\n".join(f"  {name:<17} {value}" for name, value in rows)


def _examples(one: Count) -> str:
    return ", ".join(f"{kind} ({', '.join(names)})" for kind, names in one.examples.items())


def _counted(one: Count) -> str:
    return (
        f"{one.sent} sent, {one.answered} answered, {one.lost} lost, {one.duplicated} duplicated, "
        f"{one.out_of_order} out of key order, {one.unaudited} without audit record"
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
