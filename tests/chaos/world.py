"""What a run consists of: broker, topics, workers, load and reader, and what can be done to them."""

import logging
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from tests.chaos.census import committed_positions, end_offsets
from tests.chaos.fleet import Fleet
from tests.chaos.frames import Storm
from tests.chaos.load import Load
from tests.chaos.progress import Progress
from tests.chaos.watch import Watch
from tests.chaos.worker import Task, kafka_settings
from workers.development.broker import HOST, PORT_TRIES_MAX, PORTS, DevelopmentBroker
from workers.development.jars import BrokerError
from workers.kafka.client import admin_options, connect
from workers.kafka.topics import create_topics
from workers.settings import TopicSettings

GROUP = "chaos"
PROXIED = "PROXIED"
"""The listener of the workers, if their requests are disturbed."""

PROPERTIES = {
    # The reader takes a record's time for the moment at which it was in the log.
    "log.message.timestamp.type": "LogAppendTime",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # Not 1.5 s as elsewhere: on a busy machine the one broker would be taken for dead, with all its leaders.
    "broker.session.timeout.ms": "4000",
}
BROKEN_EVERY = 97
RESPONSE_PARTITIONS = 4
"""Fewer than the input has: so every worker writes to each, and what one leaves open holds back the others' answers."""

STEP_S = 0.05
OPEN_S = 1.0
CATCH_UP_S = 180.0
"""Bound on answering everything once the load has ended."""


class World:
    """One session of a run. All calls on one thread."""

    def __init__(
        self, directory: Path, progress: Progress, keys: int, say: Callable[[str], None], *, is_stormy: bool = False
    ) -> None:
        """`is_stormy`: the workers' requests are disturbed on their way to the broker."""
        self.directory = directory
        self.progress = progress
        self.storm = Storm(f"{progress.seed}-{progress.session}") if is_stormy else None
        proxied = {PROXIED: self.storm.address} if self.storm else {}
        self.broker = DevelopmentBroker(
            directory / "broker",
            port=progress.port,
            heap_mb=384,
            properties=PROPERTIES,
            extra_listeners=dict.fromkeys(proxied, "PLAINTEXT"),
            advertised=proxied,
            say=say,
        )
        if self.storm:
            self.storm.target = self.broker.address(PROXIED)
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        for name in ("logs", "marks"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        self.broker.start()
        self.kafka = kafka_settings(self.broker.bootstrap, GROUP, progress.session_s)
        self.topics = TopicSettings()
        self._create_responses()
        create_topics(self.kafka, self.topics)
        self.fleet = Fleet(self._task(), directory / "logs", is_stormy=is_stormy)
        self.watch = Watch(self.kafka, self.topics, from_beginning=progress.session == 1)
        self.load = Load(
            self.kafka,
            self.topics.events,
            name=f"s{progress.seed}-{progress.session}",
            rate_s=progress.rate_s,
            keys=keys,
            seed=progress.seed,
            broken_every=BROKEN_EVERY,
        )

    def add_generation(self) -> str:
        """Start one more generation of workers; returns its cluster name."""
        self.progress.generation += 1
        cluster = f"g{self.progress.generation}"
        self.fleet.add(cluster, self.progress.workers)
        return cluster

    def wait(self, until: Callable[[], bool], timeout_s: float, tick: Callable[[], None] | None = None) -> bool:
        """Keep everything going until `until` says so; False where `timeout_s` was not enough."""
        deadline_s = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() >= deadline_s:
                return False
            self.fleet.step()
            self.watch.check()
            if tick is not None:
                tick()
            time.sleep(STEP_S)
        return True

    def restart_broker(self, away_s: float) -> None:
        """SIGKILL, and start it again after `away_s`."""
        self.broker.kill()
        time.sleep(away_s)
        self.broker.start()

    def freeze_broker(self, lasts_s: float, tick: Callable[[], None]) -> None:
        """SIGSTOP, and SIGCONT after `lasts_s`; the workers go on meanwhile."""
        self.broker.pause()
        try:
            self.wait(lambda: False, lasts_s, tick)
        finally:
            self.broker.resume()

    def partition_count(self) -> int:
        """Of the input topic."""
        return self._ask_admin(lambda admin: len(admin.describe_topics([self.topics.events])[0]["partitions"]))

    def add_partition(self) -> None:
        """One more of the input topic; producers pause meanwhile, as docs/kafka.md asks."""
        self.load.pause()
        count = self.partition_count() + 1
        self._ask_admin(lambda admin: admin.create_partitions({self.topics.events: count}))
        self.load.resume()

    def is_caught_up(self) -> bool:
        """Whether the group's committed offsets are at the end of every input partition."""
        committed = committed_positions(self.kafka, self.topics.events)
        at = {place: position.offset for place, position in committed.items()}
        return all(at.get(place, 0) >= end for place, end in end_offsets(self.kafka, self.topics.events).items())

    def is_transaction_open(self) -> bool:
        """Whether the last stable offset of some response partition stays below its high watermark for a while.

        Of a worker that runs, a transaction is over by then.
        """
        ends = end_offsets(self.kafka, self.topics.audited, isolation="read_uncommitted")
        deadline_s = time.monotonic() + OPEN_S
        while time.monotonic() < deadline_s:
            stable = end_offsets(self.kafka, self.topics.audited)
            if all(stable[place] >= end for place, end in ends.items()):
                return False
        return True

    def close(self) -> None:
        """End everything that still runs, at once."""
        self.fleet.kill_all()
        self.watch.close()
        self.broker.kill()
        if self.storm:
            self.storm.close()

    def _ask_admin(self, ask: Callable[[Any], Any]) -> Any:
        options = admin_options(self.kafka)
        admin: Any = connect("admin", lambda: KafkaAdminClient(**options), self.kafka.connect_timeout_s)
        try:
            return ask(admin)
        finally:
            admin.close()

    def _create_responses(self) -> None:
        new = NewTopic(self.topics.audited, RESPONSE_PARTITIONS, 1)
        with suppress(TopicAlreadyExistsError):
            self._ask_admin(lambda admin: admin.create_topics([new]))

    def _task(self) -> Task:
        return Task(
            bootstrap=self.storm.address if self.storm else self.broker.bootstrap,
            group=GROUP,
            cluster="",
            slot=0,
            incarnation=self.progress.first_incarnation(),
            marks=str(self.directory / "marks"),
            journals=str(self.directory / "journals"),
            session_s=self.progress.session_s,
        )


def choose_port() -> int:
    """A port for a run's broker that is free now, as are the two above it."""
    for _ in range(PORT_TRIES_MAX):
        port = random.choice(PORTS[::3])
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            try:
                for number, each in enumerate((first, second, third)):
                    each.bind((HOST, port + number))
            except OSError:
                continue
        return port
    raise BrokerError(f"no three free ports among {PORT_TRIES_MAX} pairs tried")
