"""Part k: what an overloaded worker answers. Each scenario is run by this checkout and, if one is named, by another.

Offered are 0.8 of what the slowed part can do and, before it, a burst that this part needs half a deadline for. Where
the processors are the slowed part, it is as much as they work off meanwhile. The events are harmless, so each that is
withheld is a loss.
"""

import statistics
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from bench.arms import PARTITIONS, Say
from bench.overload_arm import AUDITED, OTHERS, Sample, Task
from bench.overload_world import (
    ANSWER,
    HERE,
    Answers,
    KeptWorker,
    Lived,
    Load,
    PacedModel,
    busy_processors,
)
from bench.report import Figure
from workers.commands.demo.scripted_model import running
from workers.kafka.topics import create_topics
from workers.settings import KafkaSettings, TopicSettings

OFFERED = 0.8
BURST_SHARE = 0.45
"""The share of a deadline that the burst takes the slowed part: half of it, less what is under way at its start."""

BUSY_SHARE = 0.15
"""The share of the time with busy processors that the burst takes there, so that it is worked off before they rest."""

STAGE_S = 0.15
"""What the stage `classification` takes for an event: more than a hundred times what part c measures."""

MODEL_S, MODEL_SLOWER, REQUESTS_MAX = 0.2, 10, 8
RECOVERED_S = 1.0
"""An answer within this time is one of a worker that has recovered."""

RECOVERY_MAX_S = 10
WARM_EVENTS = 40
LONG_CHARACTERS = 399_000


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement; the cause of the overload lasts `slow_s`."""

    slow_s: float = 60.0
    after_s: float = 15.0
    deadline_s: float = 60.0
    burst_events: int = 5_000
    burst_deadline_s: float = 300.0
    long_events: int = 20
    ordinary_events: int = 60
    probe_events: int = 300
    drain_s: float = 300.0


QUICK = Size(
    slow_s=8.0,
    after_s=4.0,
    deadline_s=20.0,
    burst_events=500,
    long_events=3,
    ordinary_events=9,
    probe_events=60,
    drain_s=120.0,
)

Scenario = Callable[["Run"], Lived]


class Run:
    """One worker with its load. `known_per_s` is the capacity that an earlier run of the scenario found; 0: none."""

    def __init__(self, bootstrap: str, size: Size, tree: Path, known_per_s: float) -> None:
        self.size = size
        self.tree = tree
        self.known_per_s = known_per_s
        self.kafka = KafkaSettings(bootstrap_servers=(bootstrap,), group_id=f"bench-{uuid.uuid4().hex[:12]}")
        self.on_s = self.off_s = 0.0

    @contextmanager
    def started(self, deadline_s: float, **options: object) -> Generator[None]:
        """Hold a warm worker, whose task has `options`, and its load."""
        topic = self.kafka.group_id
        named = {name: f"{topic}-{name}" for name in (AUDITED, *OTHERS)}
        topics = msgspec.convert({"events": topic, "partitions": PARTITIONS, **named}, TopicSettings)
        create_topics(self.kafka, topics)
        with ExitStack() as held:
            folder = held.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-overload-"))
            self.switch = Path(folder) / "slow"
            task = Task(
                bootstrap=self.kafka.bootstrap_servers[0],
                group=topic,
                topic=topic,
                switch=str(self.switch),
                **options,  # pyright: ignore[reportArgumentType]
            )
            self.load = Load(self.kafka, topic, deadline_s)
            held.callback(self.load.close)
            self.answers = held.enter_context(Answers(self.kafka, topics.audited))
            self.worker = held.enter_context(KeptWorker(task, self.tree))
            self.worker.wait_assigned()
            self.send_all(f"warm-{number}" for number in range(WARM_EVENTS))
            self.answers.wait_for([f"warm-{number}" for number in range(WARM_EVENTS)], self.size.drain_s)
            yield

    def send_all(self, ids: Generator[str]) -> None:
        """Send events at once."""
        for event_id in ids:
            self.load.send(event_id)
        self.load.flush()

    def probe(self) -> float:
        """Return how many events a second the worker answers that has all of them at once, or what is known of it."""
        if self.known_per_s:
            return self.known_per_s
        ids = [f"probe-{number}" for number in range(self.size.probe_events)]
        self.send_all(each for each in ids)
        self.answers.wait_for(ids, self.size.drain_s)
        times = sorted(self.answers.of[each].at_s for each in ids if each in self.answers.of)
        skipped = len(times) // 5
        return (len(times) - 1 - skipped) / max(1e-3, times[-1] - times[skipped])

    def overload(self, capacity_per_s: float, burst_s: float) -> None:
        """Send a burst of `burst_s` and then a steady load for as long as the cause lasts, and note when that began."""
        burst = int(capacity_per_s * burst_s)
        self.on_s = time.time()
        self.send_all(f"burst-{number}" for number in range(burst))
        left_s = self.size.slow_s - (time.time() - self.on_s)
        rate = OFFERED * capacity_per_s
        self.load.send_steadily(rate, left_s, lambda number: self.load.send(f"on-{number}"))

    def recover(self, capacity_per_s: float) -> None:
        """Go on at the same rate, without the cause, until everything is answered."""
        self.off_s = time.time()
        rate = OFFERED * capacity_per_s
        self.load.send_steadily(rate, self.size.after_s, lambda number: self.load.send(f"off-{number}"))
        self.answers.wait_for(self.load.sent_s, self.size.drain_s)

    def lived(self, capacity_per_s: float) -> Lived:
        """Return what has been seen since the cause began."""
        sent_s = {each: at_s for each, at_s in self.load.sent_s.items() if at_s >= self.on_s}
        return Lived(
            sent_s=sent_s,
            answers={each: self.answers.of[each] for each in sent_s if each in self.answers.of},
            samples=[sample for sample in self.worker.samples if sample.at_s >= self.on_s],
            on_s=self.on_s,
            off_s=self.off_s,
            exits=list(self.worker.exits),
            capacity_per_s=capacity_per_s,
        )


def busy(run: Run) -> Lived:
    """Both processors are held by busy loops of ordinary priority."""
    with run.started(run.size.deadline_s):
        with busy_processors():
            capacity_per_s = run.probe()
            run.overload(capacity_per_s, run.size.slow_s * BUSY_SHARE)
        run.recover(capacity_per_s)
        return run.lived(capacity_per_s)


def slow_stage(run: Run) -> Lived:
    """A stage takes a hundred times as long."""
    with run.started(run.size.deadline_s, slow_stage="classification", slow_s=STAGE_S):
        run.switch.touch()
        run.overload(1 / STAGE_S, run.size.deadline_s * BURST_SHARE)
        run.switch.unlink()
        run.recover(1 / STAGE_S)
        return run.lived(1 / STAGE_S)


def burst(run: Run) -> Lived:
    """Thousands of events come at once."""
    with run.started(run.size.burst_deadline_s):
        capacity_per_s = run.probe()
        run.on_s = time.time()
        ids = [f"burst-{number}" for number in range(run.size.burst_events)]
        run.send_all(each for each in ids)
        run.answers.wait_for(ids, run.size.drain_s)
        run.off_s = time.time()
        return run.lived(capacity_per_s)


def long_texts(run: Run) -> Lived:
    """A few texts of the greatest length come among ordinary ones, all at once."""
    every = run.size.ordinary_events // run.size.long_events
    text = ("seven " * (LONG_CHARACTERS // 6))[:LONG_CHARACTERS]
    with run.started(run.size.burst_deadline_s):
        run.on_s = time.time()
        for number in range(run.size.ordinary_events):
            if number % every == 0:
                run.load.send(f"long-{number}", text=text, tenant_id="noisy")
            run.load.send(f"ordinary-{number}")
        run.load.flush()
        run.answers.wait_for(run.load.sent_s, run.size.drain_s)
        run.off_s = time.time()
        return run.lived(0)


def slow_model(run: Run) -> Lived:
    """A model's server answers at a tenth of its speed; half of the events need no model."""
    model = PacedModel(MODEL_S)
    capacity_per_s = REQUESTS_MAX / (MODEL_S * MODEL_SLOWER)

    def both(number: int, name: str) -> None:
        run.load.send(f"{name}-model-{number}", answer="")
        run.load.send(f"{name}-candidate-{number}", answer=ANSWER)

    with running(model) as url, run.started(run.size.deadline_s, base_url=url, requests_max=REQUESTS_MAX):
        rate = OFFERED * capacity_per_s
        run.load.send_steadily(rate, run.size.after_s, lambda number: both(number, "before"))
        run.answers.wait_for(run.load.sent_s, run.size.drain_s)
        model.delay_s = MODEL_S * MODEL_SLOWER
        run.on_s = time.time()
        for number in range(int(capacity_per_s * run.size.deadline_s * BURST_SHARE)):
            run.load.send(f"burst-model-{number}", answer="")
        run.load.send_steadily(rate, run.size.slow_s, lambda number: both(number, "on"))
        model.delay_s = MODEL_S
        run.off_s = time.time()
        run.load.send_steadily(rate, run.size.after_s, lambda number: both(number, "off"))
        run.answers.wait_for(run.load.sent_s, run.size.drain_s)
        return run.lived(capacity_per_s)


class Named(NamedTuple):
    """A scenario and what it is called; `counted` are the prefixes of the events that the slowed part serves."""

    name: str
    run: Scenario
    counted: tuple[str, ...] = ("burst", "on", "off")


SCENARIOS = (
    Named("both processors busy", busy),
    Named("a stage of 150 ms an event", slow_stage),
    Named("a burst", burst),
    Named("long texts", long_texts, ("ordinary", "long")),
    Named("a model at a tenth", slow_model, ("burst-model", "on-model", "off-model")),
)


def measure(bootstrap: str, size: Size, say: Say, before: Path | None, images: Path | None) -> list[Figure]:
    """Measure every scenario, by the checkout `before` as well if there is one; draw both into `images`."""
    figures: list[Figure] = []
    lives: dict[str, dict[str, Lived]] = {}
    trees = {"after": HERE, **({"before": before.absolute()} if before else {})}
    for named in SCENARIOS:
        known_per_s = 0.0
        for which, tree in trees.items():
            lived = named.run(Run(bootstrap, size, tree, known_per_s))
            known_per_s = lived.capacity_per_s
            lives.setdefault(named.name, {})[which] = lived
            made = figures_of(named, lived, which if before else "")
            figures += made
            say(f"k: {named.name}, {which}: " + "; ".join(f"{each.name} {each.value:.1f} {each.unit}" for each in made))
    if images is not None:
        from bench import overload_picture

        overload_picture.draw(lives, images / "bench-overload.svg")
    return figures


def figures_of(named: Named, lived: Lived, which: str) -> list[Figure]:
    """Return the figures of one run."""
    offered = f"{len(lived.sent_s):,} events"
    of = ", ".join(part for part in (named.name, which, offered) if part)

    def figure(name: str, value: float, unit: str, target: str = "", how: str = "") -> Figure:
        return Figure(
            part="k", name=name, value=value, unit=unit, of=of + how, target="" if which == "before" else target
        )

    reasons = Counter(reason for answer in lived.answers.values() if answer.is_withheld for reason in answer.reasons)
    how = f" ({', '.join(f'{reason} {count}' for reason, count in reasons.most_common(3))})" if reasons else ""
    made = [figure("withheld or unanswered", lost_percent(lived), "%", "≤ 1", how)]
    if lived.capacity_per_s and (share := throughput(named, lived) / lived.capacity_per_s):
        made.append(figure("answered, of what the slowest part allows", share, "", "≥ 0.8"))
    if named.run is slow_model:
        made.append(figure("events without a model, p99", candidate_p99_s(lived), "s", "≤ 1"))
    if named.run not in {burst, long_texts}:
        made.append(figure("recovered after", recovered_s(lived), "s", f"≤ {RECOVERY_MAX_S}"))
    if named.run is long_texts:
        ordinary = latencies_s(lived, "ordinary")
        made.append(figure("ordinary events, longest", max(ordinary, default=0), "s"))
    made.append(figure("memory, growth", growth_mib(lived.samples), "MiB"))
    if lived.exits:
        made.append(figure("ends of the worker process", len(lived.exits), ""))
    return made


def lost_percent(lived: Lived) -> float:
    """Return the share of events that were withheld, or not answered at all."""
    good = sum(not answer.is_withheld for answer in lived.answers.values())
    return 100 * (1 - good / len(lived.sent_s))


def throughput(named: Named, lived: Lived) -> float:
    """Return the events a second that the slowed part answered while it was slow and had any to do."""
    times = sorted(
        answer.at_s
        for each, answer in lived.answers.items()
        if each.startswith(named.counted) and not answer.is_withheld and answer.at_s <= lived.off_s
    )
    return len(times) / (times[-1] - lived.on_s) if times else 0.0


def latencies_s(lived: Lived, prefix: str) -> list[float]:
    """Return the times from sending to answer of the events whose ids begin so; withheld ones count too."""
    return [answer.at_s - lived.sent_s[each] for each, answer in lived.answers.items() if each.startswith(prefix)]


def candidate_p99_s(lived: Lived) -> float:
    """Return the 99th percentile of the times of events that need no model, while it was slow."""
    times = latencies_s(lived, "on-candidate")
    return statistics.quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else float("nan")


def recovered_s(lived: Lived) -> float:
    """Return the time from the end of the cause to the last answer that took longer than `RECOVERED_S`."""
    slow = [a.at_s for each, a in lived.answers.items() if a.at_s - lived.sent_s[each] > RECOVERED_S]
    return max(0.0, max(slow, default=lived.off_s) - lived.off_s)


def growth_mib(samples: list[Sample]) -> float:
    """Return how much more memory the worker held in the last fifth of the run than in the second."""
    fifth = max(1, len(samples) // 5)
    early, late = samples[fifth : 2 * fifth] or samples[:1], samples[-fifth:]
    return statistics.mean(s.rss_mib for s in late) - statistics.mean(s.rss_mib for s in early) if samples else 0.0
