"""Part l: two tenants of one worker, one of which sends far beyond its budget, in one partition and in two.

The other's times are compared with those of the same tenant alone, right before. What is over the budget must be
refused at once.
"""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from bench.arms import Say
from bench.overload import Run
from bench.overload import Size as RunSize
from bench.overload_world import HERE, Answer
from bench.report import Figure

CALM, NOISY = "calm", "noisy"
BUDGET = """\
tenant_id: noisy
version: 1.0.0
limits: [{{window: minute, events: {events}}}]
"""
RATE_LIMITED = "rate_limited"
SERVICE_S = 0.01
"""What the stage `classification` takes beside its own work, so that the worker has a known capacity."""


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement; `noisy_events` is the flooding tenant's budget for a minute, over all partitions."""

    calm_per_s: float = 10.0
    noisy_per_s: float = 100.0
    noisy_events: int = 300
    for_s: float = 30.0


QUICK = Size(for_s=6.0, noisy_per_s=40.0, noisy_events=60)


def measure(bootstrap: str, size: Size, say: Say) -> list[Figure]:
    """Measure both ways in which two tenants meet."""
    figures: list[Figure] = []
    for name, noisy_partition in (("one partition", 0), ("two partitions", 1)):
        made = _measure(bootstrap, size, name, noisy_partition)
        figures += made
        say(f"l: {name}: " + "; ".join(f"{each.name} {each.value:.2f} {each.unit}" for each in made))
    return figures


def _measure(bootstrap: str, size: Size, name: str, noisy_partition: int) -> list[Figure]:
    run = Run(bootstrap, RunSize(), HERE, 0.0)
    with tempfile.TemporaryDirectory(prefix="sluicegate-budgets-") as folder:
        (Path(folder) / "noisy.yaml").write_text(BUDGET.format(events=size.noisy_events), encoding="utf-8")
        slow = {"slow_stage": "classification", "slow_s": SERVICE_S}
        with run.started(RunSize().burst_deadline_s, budgets=folder, **slow):
            run.switch.touch()
            send = run.load.send
            run.load.send_steadily(
                size.calm_per_s, size.for_s, lambda n: send(run.load.id_in(0, f"alone-{n}"), tenant_id=CALM)
            )
            run.answers.wait_for(run.load.sent_s, run.size.drain_s)
            every = max(1, round(size.noisy_per_s / size.calm_per_s))

            def both(number: int) -> None:
                send(run.load.id_in(noisy_partition, f"noisy-{number}"), tenant_id=NOISY)
                if number % every == 0:
                    send(run.load.id_in(0, f"beside-{number}"), tenant_id=CALM)

            run.load.send_steadily(size.noisy_per_s, size.for_s, both)
            run.answers.wait_for(run.load.sent_s, run.size.drain_s)
            return figures_of(name, run.load.sent_s, run.answers.of)


def figures_of(name: str, sent_s: dict[str, float], answers: dict[str, Answer]) -> list[Figure]:
    """Return the figures of one run from the times of sending and the answers, by event id."""

    def times_of(stem: str, reason: str = "") -> list[float]:
        found = [each for each in answers if each.startswith(stem) and (not reason or reason in answers[each].reasons)]
        return [answers[each].at_s - sent_s[each] for each in found]

    refused = [each for each, answer in answers.items() if RATE_LIMITED in answer.reasons]
    others = [each for each in refused if not each.startswith("noisy")]
    unsaid = [each for each in refused if answers[each].retry_after_ms <= 0]
    alone, beside = p99(times_of("alone")), p99(times_of("beside"))
    noisy = sum(each.startswith("noisy") for each in sent_s)
    return [
        Figure(part="l", name="the other's p99, ratio", value=beside / alone, unit="", of=name, target="≤ 1.2"),
        Figure(part="l", name="the other's p99, alone", value=alone, unit="s", of=name),
        Figure(part="l", name="the other's p99, beside the flood", value=beside, unit="s", of=name),
        Figure(part="l", name="refused of the flood", value=100 * len(refused) / noisy, unit="%", of=name),
        Figure(
            part="l",
            name="refused after, p99",
            value=p99(times_of("noisy", RATE_LIMITED)),
            unit="s",
            of=name,
            target="≤ 1",
        ),
        Figure(part="l", name="refused without a time to wait", value=len(unsaid), unit="", of=name, target="0"),
        Figure(part="l", name="refused of the other", value=len(others), unit="", of=name, target="0"),
        Figure(
            part="l",
            name="unanswered",
            value=len(sent_s) - len(answers.keys() & sent_s.keys()),
            unit="",
            of=name,
            target="0",
        ),
    ]


def p99(times: Sequence[float]) -> float:
    """Return the 99th percentile; that of fewer than two values is 0."""
    return statistics.quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else 0.0
