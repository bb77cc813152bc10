"""On the real broker, under steady load: one ceiling is rolled out to a running worker, and rolled back.

Every decision is made under exactly one version: labeller, prompt, checks, plan and verdict of each audit record agree
with the policy that it names. What must not be loaded changes nothing.
"""

import itertools
import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import ray
from msgspec import structs

from serving.fakes import FakeCheck
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import CHECK_S, PATIENCE_S, STAGE, wait_until
from tests.plugins.policy_publisher import (
    CATEGORY,
    HIGH,
    KEYS,
    LOW,
    STRANGER,
    bundle,
    document,
    overlay,
    publication,
)
from tests.plugins.policy_witness import WitnessGenerator, WitnessLabeler, WitnessStage, witnesses
from tests.plugins.running_worker import fresh_settings, logged, question, running_loop
from topology.contract.errors import PolicyError, PolicyRefusal
from topology.contract.events import AuditRecord
from topology.decision.recompute import recompute
from topology.policy.bundle import PolicyBundle
from topology.policy.envelopes import PublicationKind
from topology.policy.loading import load_bundle
from topology.policy.overlays import STRICTEST, load_overlay
from topology.ports import Check
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.assembly import policy_keeper
from workers.kafka.errors import KafkaRefused
from workers.kafka.reader import TopicReader
from workers.kafka.sender import EventSender
from workers.policy.keeper import PolicyKeeper
from workers.policy.publishing import write
from workers.settings import PolicySettings, Settings, StageSettings
from workers.stages.batching import BatchedCheck
from workers.stages.inline import InlineRunner
from workers.stages.pool import ActorRunner

pytestmark = pytest.mark.kafka

PAUSE_S = 0.01
AHEAD_MAX = 200
"""Events that nobody has looked at: on a busy machine the load waits for the worker."""

PART = 40
"""Events under each policy before the next change."""

TENANT = "tenant"
OVERLAY = overlay(TENANT)
BROKEN = (0, 1, 2)
"""Rises with intent."""


class Load:
    """Sends an event every `PAUSE_S`, each in a conversation of its own, until it is stopped.

    It waits where `AHEAD_MAX` are not among `answers` yet.
    """

    def __init__(self, settings: Settings, answers: "Answers") -> None:
        self._settings = settings
        self._answers = answers
        self._is_stopping = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, name="load")

    def _run(self) -> None:
        sender = EventSender(self._settings.kafka, self._settings.topics.events)
        for number in itertools.count():
            while not self._is_stopping.wait(PAUSE_S) and number - self._answers.count >= AHEAD_MAX:
                pass
            if self._is_stopping.is_set():
                break
            sender.send_event(question(number, f"c{number}"))
            self.sent = number + 1
        sender.close()

    @contextmanager
    def running(self) -> Generator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Send no more; what was sent is acknowledged."""
        self._is_stopping.set()
        self._thread.join(PATIENCE_S)


class Answers:
    """Reads audit records as they become visible."""

    def __init__(self, settings: Settings) -> None:
        self._reader = TopicReader(settings.kafka, [settings.topics.audit], from_beginning=True)
        self.records: dict[int, AuditRecord] = {}
        """By the number that the event was sent under."""
        self.count = 0

    def has(self, numbers: range) -> bool:
        """Whether all of these are answered."""
        for each in self._reader.poll(0.1):
            record = msgspec.json.decode(each.value or b"", type=AuditRecord)
            self.records[int(record.event_id.removeprefix("e"))] = record
            self.count += 1
        return all(number in self.records for number in numbers)

    def policies(self, numbers: range) -> set[str]:
        """The policies that these were decided under, once all are answered."""
        wait_until(lambda: self.has(numbers))
        return {self.records[number].policy_ref for number in numbers}

    def close(self) -> None:
        self._reader.close()


class Source:
    """A way to roll a policy out. `issued_ms` of publications rises by one with each."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._issued = itertools.count(1)

    def put(self, version: str, ceilings: tuple[int, int, int], **changes: Any) -> None:
        raise NotImplementedError

    def issued_ms(self) -> int:
        return next(self._issued)


class Files(Source):
    """Files in a directory."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self._bundle = root / "bundle.yaml"
        (root / "overlays").mkdir()
        (root / "overlays" / "tenant.yaml").write_bytes(OVERLAY)
        policy = PolicySettings(bundle=str(self._bundle), overlays=str(root / "overlays"), reload_interval_s=0.1)
        super().__init__(structs.replace(settings, policy=policy))

    def put(self, version: str, ceilings: tuple[int, int, int], **changes: Any) -> None:
        del changes
        new = self._bundle.with_suffix(".new")
        new.write_bytes(document(version, ceilings))
        new.rename(self._bundle)


class Publications(Source):
    """Signed publications on the policy topic."""

    def __init__(self, settings: Settings) -> None:
        policy = PolicySettings(source="topic", keys=KEYS, reload_interval_s=0.1, start_timeout_s=PATIENCE_S)
        super().__init__(structs.replace(settings, policy=policy))
        self.write(publication("1.0.0", OVERLAY, self.issued_ms(), kind=PublicationKind.OVERLAY, name=TENANT))

    def put(self, version: str, ceilings: tuple[int, int, int], **changes: Any) -> None:
        self.write(bundle(version, self.issued_ms(), ceilings, **changes))

    def write(self, *raw: bytes) -> None:
        write(self.settings.kafka, self.settings.topics.policy, raw)


@contextmanager
def kept(settings: Settings, metrics: Instruments) -> Generator[PolicyKeeper]:
    keeper = policy_keeper(settings, metrics)
    try:
        keeper.start()
        yield keeper
    finally:
        keeper.stop()


def inline(metrics: Instruments) -> Check:
    """Classification in the worker, batched as it is there."""
    runner = WitnessStage()
    return BatchedCheck(runner.name, runner.version, InlineRunner(runner, CHECK_S, lambda _: None), STAGE, metrics)


def ceilings_of(version: str) -> tuple[int, int, int]:
    return LOW if version == "1.1.0" else HIGH


BUNDLES = {made.ref: made for made in (load_bundle(document(v, ceilings_of(v))) for v in ("1.0.0", "1.1.0"))}
V10, V11 = BUNDLES


def assert_one_policy_each(records: Sequence[AuditRecord]) -> None:
    """Each record was made under the policy that it names, and says so whoever recomputes it."""
    for record in records:
        assert witnesses(record) == {record.policy_ref}, record.event_id
        under: PolicyBundle = BUNDLES[record.policy_ref]
        again = recompute(record, under, load_overlay(OVERLAY, under, None))
        assert again.plan == record.plan
        assert again.verdicts == tuple(attempt.verdict for attempt in record.attempts)
        assert again.action is record.action
    assert len({record.plan.ceilings[CATEGORY] for record in records if record.plan}) == 2, "the ceiling did change"


def roll_out_and_back(source: Source, metrics: Instruments, check: Check) -> list[AuditRecord]:
    """1.0.0, then 1.1.0, then a broken 1.2.0, then 1.0.0 again; all of it while events flow."""

    def refused(why: PolicyRefusal) -> float:
        return metrics.value(Metric.POLICY_RELOAD_FAILURES, reason=why.value)

    source.put("1.0.0", HIGH)
    answers = Answers(source.settings)
    load = Load(source.settings, answers)
    checks = (check, FakeCheck("bias"), FakeCheck("logging", logged))
    with (
        closing(answers),
        kept(source.settings, metrics) as keeper,
        running_loop(
            source.settings,
            labeler=WitnessLabeler(),
            generator=WitnessGenerator(),
            checks=checks,
            policies=keeper.current,
        ),
        load.running(),
    ):

        def decides(ref: str) -> None:
            """From the moment that it is in force, every event that is sent is decided under it."""
            wait_until(lambda: keeper.current().bundle.ref == ref)
            first = load.sent + 1  # one may be on its way
            assert answers.policies(range(first, first + PART)) == {ref}

        decides(V10)
        source.put("1.1.0", LOW)
        decides(V11)
        source.put("1.2.0", BROKEN)
        wait_until(lambda: refused(PolicyRefusal.INVALID) == 1)
        decides(V11)
        if isinstance(source, Publications):
            source.put("1.0.0", HIGH)
            source.put("1.3.0", HIGH, key=STRANGER)
            wait_until(lambda: refused(PolicyRefusal.LOWER_VERSION) == refused(PolicyRefusal.BAD_SIGNATURE) == 1)
            decides(V11)
        source.put("1.0.0", HIGH, rollback=True)
        decides(V10)
        load.stop()
        assert answers.policies(range(load.sent)) == {V10, V11}
    assert answers.count == load.sent, "one answer each"
    return list(answers.records.values())


@pytest.mark.parametrize("way", ["file", "topic"])
def test_a_ceiling_is_rolled_out_to_a_running_worker_and_every_decision_has_one_version(
    kafka: Kafka, tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, settings = Instruments.none(), fresh_settings(kafka)
    source = Files(settings, tmp_path) if way == "file" else Publications(settings)
    records = roll_out_and_back(source, metrics, inline(metrics))
    assert_one_policy_each(records)
    refusals = [str(getattr(r, "reasons", "")) for r in caplog.records if r.levelno == logging.ERROR]
    assert any(f"{CATEGORY}.fixed: rises with intent" in reasons for reasons in refusals)
    assert {record.action.value for record in records if record.policy_ref == V11} != {
        record.action.value for record in records if record.policy_ref == V10
    }


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_a_stage_in_an_actor_judges_each_event_under_its_own_policy(kafka: Kafka) -> None:
    from tests.plugins.scripted_actors import WitnessActor

    metrics = Instruments.none()
    stage = StageSettings(placement="actor", timeout_s=CHECK_S)
    actor: Any = WitnessActor.options(num_cpus=0.1).remote(Settings(), "bias")
    try:
        ray.get(actor.health.remote(), timeout=PATIENCE_S)
        runner = ActorRunner(WitnessStage.name, [actor], stage)
        check = BatchedCheck(WitnessStage.name, WitnessStage.version, runner, stage, metrics)
        records = roll_out_and_back(Publications(fresh_settings(kafka)), metrics, check)
    finally:
        ray.kill(actor, no_restart=True)
    assert_one_policy_each(records)


def test_a_worker_does_not_start_without_a_signed_bundle_and_says_what_it_looked_for(kafka: Kafka) -> None:
    settings = fresh_settings(kafka)
    policy = PolicySettings(source="topic", keys=KEYS, start_timeout_s=1)
    write(settings.kafka, settings.topics.policy, [bundle("1.0.0", 1, key=STRANGER)])
    with (
        pytest.raises(PolicyError, match="holds no valid bundle safe-completion-core"),
        kept(structs.replace(settings, policy=policy), Instruments.none()),
    ):
        pass


def test_a_worker_does_not_start_without_the_topic_and_says_how_to_make_it(kafka: Kafka) -> None:
    settings = fresh_settings(kafka)
    policy = PolicySettings(source="topic", keys=KEYS, start_timeout_s=1)
    topics = structs.replace(settings.topics, policy="not-there")
    with (
        pytest.raises(KafkaRefused, match="no topic not-there"),
        kept(structs.replace(settings, policy=policy, topics=topics), Instruments.none()),
    ):
        pass


def test_a_restarted_worker_is_not_brought_back_by_old_publications_sent_again(kafka: Kafka) -> None:
    """Neither an old version nor an old roll-back, whatever order they come in."""
    source = Publications(fresh_settings(kafka))
    old, new = bundle("1.0.0", 10), bundle("1.1.0", 11, LOW)
    back, forth = bundle("1.0.0", 12, rollback=True), bundle("1.1.0", 13, LOW)
    source.write(old, new, back, forth)
    source.write(old, back)
    for _ in range(2):
        with kept(source.settings, Instruments.none()) as keeper:
            assert keeper.current().bundle.ref == V11
            assert keeper.current().overlay_of(TENANT) is not STRICTEST
