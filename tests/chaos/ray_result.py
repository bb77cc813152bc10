"""What a run of the Ray form found: the census, why answers were withheld, and what speaks against the guarantee."""

from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from topology.events import Action, AuditRecord
from topology.labels import Outcome
from topology.ports import Record
from workers.census import Census

NAMES_SHOWN_MAX = 5

_audit = msgspec.json.Decoder(AuditRecord)


class RayResult(Struct, frozen=True, kw_only=True):
    """One run. `violations` is empty where everything held; durations in seconds."""

    seed: int
    took_s: float
    faults: dict[str, int]
    fault_count: int
    census: Census
    generated_count: int
    withheld: dict[str, int]
    second_reader_count: int | None
    longest_silence_s: float
    model_outages_s: tuple[float, ...]
    drain_exit_code: int
    left_running: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()


def why_withheld(record: AuditRecord) -> str:
    """The failed check, `deadline`, or the rule that wanted it withheld, which is then no fault's work."""
    if record.reason_codes == ("deadline",):
        return "deadline"
    guards = [*record.guards, *(record.attempts[-1].labels.guards if record.attempts else ())]
    failed = sorted({f"{run.guard} {run.outcome.value}" for run in guards if run.outcome is not Outcome.OK})
    return ", ".join(failed) if failed else f"unexplained: {' '.join(record.reason_codes)}"


def withheld_reasons(audit: Sequence[Record]) -> dict[str, int]:
    """How often each reason stands behind a withheld answer."""
    records = [_audit.decode(record.value or b"") for record in audit]
    return dict(Counter(why_withheld(record) for record in records if record.action is Action.WITHHELD))


def generated_count(audit: Sequence[Record]) -> int:
    """Answers for which the model wrote at least one draft."""
    records = [_audit.decode(record.value or b"") for record in audit]
    return sum(any(attempt.source == "generator" for attempt in record.attempts) for record in records)


def violations_of(result: RayResult, fault_count_wanted: int) -> tuple[str, ...]:
    """Everything that must not be, in words."""
    census = result.census
    found = [
        f"{len(names)} {what}: {', '.join(names[:NAMES_SHOWN_MAX])}"
        for what, names in (
            ("lost", census.lost),
            ("duplicated", census.duplicated),
            ("out of key order", census.out_of_order),
            ("without audit record", census.unaudited),
            ("with the wrong reason", census.wrong_reason),
            ("unexpected", census.unexpected),
            ("left running", result.left_running),
        )
        if names
    ]
    found += [f"{count} withheld, {why}" for why, count in result.withheld.items() if why.startswith("unexplained")]
    if result.second_reader_count not in {None, census.answered_count}:
        found.append(f"the second reader counts {result.second_reader_count} responses")
    if result.drain_exit_code != 0:
        found.append(f"the drain ended with {result.drain_exit_code}")
    if result.fault_count < fault_count_wanted:
        found.append(f"only {result.fault_count} of {fault_count_wanted} faults could be done")
    return tuple(found)


def summary(result: RayResult) -> str:
    """The run as lines for people."""
    census = result.census
    rows = [
        ("faults", f"{result.fault_count}: " + ", ".join(f"{n} {kind}" for kind, n in result.faults.items())),
        (
            "events",
            f"{census.sent_count} sent, {census.answered_count} answered, {result.generated_count} by the model",
        ),
        ("actions", ", ".join(f"{n} {action}" for action, n in sorted(census.actions.items()))),
        ("lost", str(len(census.lost))),
        ("duplicated", str(len(census.duplicated))),
        ("out of key order", str(len(census.out_of_order))),
        ("without audit", str(len(census.unaudited))),
        ("withheld because", ", ".join(f"{why}: {n}" for why, n in sorted(result.withheld.items())) or "none was"),
        ("second reader", "none" if result.second_reader_count is None else str(result.second_reader_count)),
        ("longest silence", f"{result.longest_silence_s:.1f} s"),
        ("model was away", ", ".join(f"{s:.0f} s" for s in result.model_outages_s) or "never"),
        ("drain", f"exit code {result.drain_exit_code}"),
        ("took", f"{result.took_s:.0f} s, seed {result.seed}"),
        ("violations", "; ".join(result.violations) or "none"),
    ]
    return "\n".join(f"  {name:<18} {value}" for name, value in rows)
