"""A run's result as a few lines of text."""

from collections.abc import Mapping, Sequence

from tests.chaos.census import Count
from tests.chaos.frames import KINDS, Trouble
from tests.chaos.held import HeldBack
from tests.chaos.run import Result

REPEATS_SHOWN_MAX = 20

_COLUMNS = (("reader", -14), ("sent", 8), ("answered", 10), ("letters", 9), ("lost", 6), ("twice", 7))
_FURTHER = (("disorder", 10), ("unaudited", 11), ("wrong", 7), ("unknown", 9))
_CENSUS = "".join(name.ljust(-width) if width < 0 else name.rjust(width) for name, width in _COLUMNS + _FURTHER)
_HELD = f"{'readers held back':30}{'records':>9}{'half':>10}{'99 %':>10}{'longest':>10}"


def summary(result: Result) -> Sequence[str]:
    """What was done and what came of it, a line each; what is wrong comes last, by name."""
    done = result.progress
    return [
        f"seed {result.seed}, {done.elapsed_s:.0f} s in {done.session} session(s)",
        f"{done.fault_count} faults: {_listed(done.faults)}",
        *_frame_lines(done.frames),
        f"ends of processes: {_listed(done.exits)}",
        f"executions: {result.executions}, of which {result.executions_repeated} were not the first of their record",
        "",
        _CENSUS,
        *(_count_line(one) for one in result.counts),
        "",
        f"uncommitted {len(result.uncommitted)}; finished work done again after a drain {len(result.repeats)}",
        f"drains without exit 0: {len(done.bad_drains)}; fenced without a reason: {len(done.fenced)}",
        f"answered `withheld` for being killed too often: {max(one.quarantined for one in result.counts)}",
        f"acknowledged by the broker and not in its topic: {result.acknowledged_lost}",
        f"longest time from a kill of the broker until it answered again: {done.broker_away_s:.1f} s",
        "",
        _HELD,
        *(_held_line(name, held) for name, held in sorted(done.held.items(), key=lambda item: item[1].longest_s)),
        *_wrong(result),
    ]


def _frame_lines(frames: Mapping[str, int]) -> list[str]:
    """Requests that were disturbed, a line for each kind."""
    if not frames:
        return []
    found = {name: [frames.get(f"{name} {trouble.value}", 0) for trouble in Trouble] for name in KINDS.values()}
    lines = [f"  {name:20}{late:6} late{cut:6} cut{twice:6} doubled" for name, (late, cut, twice) in found.items()]
    return [f"{sum(frames.values())} requests disturbed:", *lines]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items(), key=lambda item: -item[1]))


def _count_line(one: Count) -> str:
    outcome = f"{one.reader:14}{one.sent:8}{one.answered:10}{one.dead_lettered:9}{one.lost:6}{one.duplicated:7}"
    return outcome + f"{one.out_of_order:10}{one.unaudited:11}{one.wrong_reason:7}{one.unexpected:9}"


def _held_line(name: str, held: HeldBack) -> str:
    shares = f"{held.share_below_s(0.5):8.2f} s{held.share_below_s(0.99):8.2f} s{held.longest_s:8.2f} s"
    return f"{name:30}{held.count:9}{shares}"


def _wrong(result: Result) -> list[str]:
    done = result.progress
    found = [
        f"{one.reader}: {what}: {', '.join(names)}" for one in result.counts for what, names in one.examples.items()
    ]
    found += [f"not drained well: {text}" for text in done.bad_drains]
    found += [f"fenced: {text}" for text in done.fenced]
    found += [f"done again after a drain: {one}" for one in result.repeats[:REPEATS_SHOWN_MAX]]
    return found
