"""Chaos on the Ray form: real Kafka, Ray, Ray Serve and vLLM, random `kill -9`, and a census of every event.

    python -m tests.chaos.ray_form [--faults N] [--seconds S] [--seed N] [--short]

Ray and the model run in this process's Ray; `sluicegate run` joins it as a process of its own. The short form has no
model: there `sluicegate run` starts its own Ray, which dies with it, and every event brings its answer.
"""

import argparse
import logging
import random
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from msgspec import structs

from tests.chaos.load import Load
from tests.chaos.ray_faults import FaultMaker, fault_plan
from tests.chaos.ray_load import CONVERSATIONS, everyday_events
from tests.chaos.ray_parts import Descendants, ModelProbe, SupervisorProcess, served_model
from tests.chaos.ray_result import RayResult, look, summary, violations_of
from tests.plugins.topic_fields import TOPIC_FIELDS
from workers.commands.demo.rounds import Model
from workers.kafka.reader import TopicReader
from workers.kafka.topics import create_topics
from workers.settings import (
    AgentSettings,
    DrainSettings,
    GenerationSettings,
    KafkaSettings,
    LimitSettings,
    PolicySettings,
    RaySettings,
    Settings,
    StageSettings,
    StagesSettings,
    TelemetrySettings,
    TopicSettings,
)

DIRECTORY = Path("var") / "chaos-ray"
SLOTS = 2
STAGE_REPLICAS = 2
PARTITIONS = 6
TICK_S = 0.1
STATUS_EVERY_S = 5.0
NOTE_EVERY_S = 1.0
UP_S = 300.0
"""How long the first answer may take: Ray, two workers and their stages start."""

VICTIM_S = 400.0
SETTLE_S = 400.0
"""How long the plan's last faults may wait for the model, and all events for their answers; the model restarts in 50 s
on two idle cores, and in 270 s on two that nine others want."""

DEADLINE_S = 1800.0
"""Longer than any outage, so that nothing is withheld for being late."""

DRAIN_S = 180.0

Say = Callable[[str], None]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """One run: `pause_s` is the shortest and longest time between two faults, `rate_s` events a second.

    With `asks_model` a quarter of the conversations is answered by the model that settings name. `calm_s` lies between
    the last answer and the drain: a worker that was killed last comes back first.
    """

    faults: int
    seed: int
    asks_model: bool
    calm_s: float = 10.0
    pause_s: tuple[float, float] = (4.0, 9.0)
    rate_s: float = 5.0


class RayForm:
    """One run against brokers that are there. `probe` None: the model is not to be killed."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        directory: Path,
        processes: Descendants,
        *,
        probe: ModelProbe | None,
        say: Say,
    ) -> None:
        self._settings = settings
        self._options = options
        self._processes = processes
        self._probe = probe
        self._say = say
        self._supervisor = SupervisorProcess(settings, directory)
        plan = fault_plan(options.faults, options.seed, with_model=probe is not None)
        self._maker = FaultMaker(plan, options.seed, self._supervisor, processes, probe)
        self._began_s = time.monotonic()
        self._said_s = 0.0
        self._answered_count = 0
        self._last_answer_s: float | None = None
        self._silence_s = 0.0
        self._exits: list[int] = []

    def run(self) -> RayResult:
        """The run from first start to drain. What it started is stopped, also when it is interrupted."""
        create_topics(self._settings.kafka, self._settings.topics)
        with ExitStack() as parts:
            load = self._load()
            parts.callback(load.stop)
            reader = TopicReader(self._settings.kafka, [self._settings.topics.audited], from_beginning=True)
            parts.callback(reader.close)
            parts.callback(self._supervisor.drain, DRAIN_S)
            self._supervisor.start()
            load.start()
            self._watch_until(lambda: self._answered_count > 0, UP_S, load, reader, "the first answer")
            self._do_faults(load, reader)
            load.stop()
            acknowledged = load.acknowledged_count
            self._watch_until(lambda: self._answered_count >= acknowledged, SETTLE_S, load, reader, "every answer")
            self._watch_until(lambda: False, self._options.calm_s, load, reader, "")
            self._say(f"{self._answered_count} of {acknowledged} are answered; draining")
            drained = self._supervisor.drain(DRAIN_S)
        return self._count(acknowledged, drained)

    def _load(self) -> Load:
        return Load(
            self._settings.kafka,
            self._settings.topics.events,
            name="e",
            rate_s=self._options.rate_s,
            keys=CONVERSATIONS,
            seed=self._options.seed,
            make_event=everyday_events(asks_model=self._options.asks_model),
        )

    def _count(self, acknowledged: int, drained: int) -> RayResult:
        found = look(self._settings)
        result = RayResult(
            seed=self._options.seed,
            took_s=round(time.monotonic() - self._began_s, 1),
            faults={kind.value: made for kind, made in sorted(self._maker.done.items())},
            fault_count=self._maker.done.total(),
            acknowledged=acknowledged,
            counts=found.counts,
            uncommitted=found.uncommitted,
            actions=found.actions,
            by_model=found.by_model,
            withheld=found.withheld,
            silence_s=round(self._silence_s, 1),
            outages_s=tuple(self._probe.outages_s) if self._probe else (),
            orphan_s=round(self._maker.orphan_s, 1),
            drain_exit_code=drained,
            supervisor_exits=tuple(self._exits),
        )
        return structs.replace(result, violations=violations_of(result, self._options.faults))

    def _do_faults(self, load: Load, reader: TopicReader) -> None:
        draw = random.Random(self._options.seed)
        while left := self._maker.left_count:  # bounded: without a victim for VICTIM_S it ends
            self._watch_until(lambda: False, draw.uniform(*self._options.pause_s), load, reader, "")
            self._watch_until(self._makes_fault, VICTIM_S, load, reader, "a victim")
            if self._maker.left_count == left:
                return

    def _makes_fault(self) -> bool:
        if made := self._maker.make_one():
            self._say(f"{self._maker.done.total():4d} {made}")
        return bool(made)

    def _watch_until(
        self, holds: Callable[[], bool], timeout_s: float, load: Load, reader: TopicReader, what: str
    ) -> None:
        """Read and watch until `holds` or `timeout_s` has passed; the latter is said where `what` is named."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() >= deadline_s:
                if what:
                    self._say(f"no longer waiting for {what} after {timeout_s:g} s")
                return
            self._show(load)
            self._look(reader)

    def _look(self, reader: TopicReader) -> None:
        if records := reader.poll(TICK_S):
            now_s = time.monotonic()
            if self._last_answer_s is not None:
                self._silence_s = max(self._silence_s, now_s - self._last_answer_s)
            self._last_answer_s = self._maker.last_answer_s = now_s
            self._answered_count += len(records)
        if (code := self._supervisor.exit_code) is not None:
            self._exits.append(code)
            self._say(f"the supervisor ended by itself with {code}; starting it again")
            self._supervisor.start()
        self._processes.note(at_most_every_s=NOTE_EVERY_S)
        self._maker.watch_orphans()

    def _show(self, load: Load) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s < STATUS_EVERY_S:
            return
        self._said_s = now_s
        model = "" if self._probe is None else f", model {'up' if self._probe.up_s() else 'away'}"
        counts = f"{load.acknowledged_count} sent, {self._answered_count} answered"
        self._say(f"     {now_s - self._began_s:.0f} s: {self._maker.done.total()} faults, {counts}{model}")


def chaos_settings(kafka: KafkaSettings, directory: Path, *, ray_address: str, base_url: str) -> Settings:
    """Two slots, each with two processes, two replicas of a stage, and waits short enough for many faults."""
    run = uuid.uuid4().hex[:6]
    renamed = {name: f"chaos-{run}.{getattr(TopicSettings(), name)}" for name in TOPIC_FIELDS}
    topics = structs.replace(TopicSettings(partitions=PARTITIONS), **renamed)
    return Settings(
        kafka=structs.replace(kafka, group_id=f"chaos-{run}", cluster_name="ray-form", producer_process=True),
        topics=topics,
        limits=LimitSettings(deadline_default_s=DEADLINE_S, crash_journal_directory=str(directory)),
        policy=PolicySettings(revisions_max=1),
        generation=GenerationSettings(base_url=base_url, model=Model.TINY.value, max_tokens=16, concurrency_max=8),
        stages=StagesSettings(classification=StageSettings(placement="actor", replicas=STAGE_REPLICAS)),
        telemetry=TelemetrySettings(enabled=False),
        agent=AgentSettings(port=0),
        ray=RaySettings(address=ray_address, slots=SLOTS, health_interval_s=0.5, logical_cpus=4),
        drain=DrainSettings(timeout_s=20),
    )


@contextmanager
def development_broker(directory: Path, say: Say) -> Generator[KafkaSettings]:
    """A broker of this run alone."""
    from workers.development.broker import DevelopmentBroker

    shutil.rmtree(directory, ignore_errors=True)
    broker = DevelopmentBroker(directory, say=say)
    broker.start()
    try:
        yield KafkaSettings(bootstrap_servers=(broker.bootstrap,))
    finally:
        broker.stop()


def run_all(options: Options, directory: Path, say: Say) -> RayResult:
    """The whole thing with parts of its own; nothing is left running, whatever happens."""
    directory.mkdir(parents=True, exist_ok=True)
    processes = Descendants()
    try:
        with ExitStack() as parts:
            kafka = parts.enter_context(development_broker(directory / "kafka", say))
            address, url, probe = "", "http://127.0.0.1:9/v1", None
            if options.asks_model:
                address, url = parts.enter_context(served_model(say, _quiet))
                probe = ModelProbe(url, Model.TINY.value)
                parts.callback(probe.close)
            settings = chaos_settings(kafka, directory, ray_address=address, base_url=url)
            form = RayForm(settings, options, directory, processes, probe=probe, say=say)
            result = form.run()
            say("stopping: the model, Ray and the broker")
    finally:
        left = processes.end()
        for name in left:
            say(f"left running, and ended now: {name}")
    if left:
        result = structs.replace(result, left_running=left)
        result = structs.replace(result, violations=violations_of(result, options.faults))
    return result


def _quiet() -> None:
    """Library logs would hide the counter; the workers' own are in the run's directory."""
    logging.getLogger().setLevel(logging.ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where everything held, 1 where not, 130 after Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.ray_form", description="Chaos on the Ray form.")
    parser.add_argument("--faults", type=int, default=110, help="how many (default 110)")
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="spread the faults over so long (default 4-9 s each)"
    )
    parser.add_argument("--seed", type=int, default=7, help="of faults and load (default 7)")
    parser.add_argument("--rate", type=float, default=5.0, help="events a second (default 5)")
    parser.add_argument("--short", action="store_true", help="6 faults, without the model")
    parser.add_argument(
        "--directory", type=Path, default=DIRECTORY, help="data, logs, result.json (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    faults = 6 if given.short else given.faults
    mean_s = given.seconds / faults if given.seconds else 6.5
    pause_s = (mean_s * 0.6, mean_s * 1.4)
    options = Options(faults=faults, seed=given.seed, asks_model=not given.short, pause_s=pause_s, rate_s=given.rate)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, _interrupt)
    directory: Path = given.directory.resolve()
    try:
        result = run_all(options, directory, _say)
    except KeyboardInterrupt:
        _say("interrupted; everything was stopped")
        return 130
    (directory / "result.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    _say(f"chaos on the Ray form:\n{summary(result)}\nas JSON: {directory / 'result.json'}")
    return 1 if result.violations else 0


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
