"""The supervisor on real Ray: it starts, watches, replaces what is broken, gives up where nothing helps, drains."""

import os
import signal
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from msgspec import structs

from serving.fakes import ManualClock
from tests.contracts.samples import check_input
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import fresh_settings
from tests.plugins.scripted_actors import (
    FailingActor,
    LateFailingActor,
    SlowActor,
    SlowStartActor,
    WorkingActor,
)
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.settings import KafkaSettings, PolicySettings, RaySettings, Settings, StageSettings, StagesSettings
from workers.stages.calls import encode_batch, encode_item, encode_policies
from workers.supervision.actors import IngressActor
from workers.supervision.supervisor import HEALTHY_RUN_S, Supervisor, SupervisorError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

QUICK = RaySettings(health_interval_s=0.1, health_timeout_s=2, unhealthy_after=2, start_timeout_s=PATIENCE_S)
ACTOR = StageSettings(placement="actor", timeout_s=0.5)


def settings_of(ray_settings: RaySettings = QUICK, **changes: Any) -> Settings:
    """Settings with actor names of their own; every stage inline unless changed."""
    kafka = KafkaSettings(group_id=f"group-{uuid.uuid4().hex[:8]}")
    return structs.replace(Settings(), **{"kafka": kafka, "ray": ray_settings, **changes})


class Watched:
    """A supervisor and what it counted."""

    def __init__(self, settings: Settings, **classes: Any) -> None:
        self.metrics = Instruments.none()
        self._scope = f"{settings.kafka.group_id}.{settings.kafka.cluster_name}"
        self.supervisor = Supervisor(settings, self.metrics, **{"ingress_class": WorkingActor, **classes})
        self.supervisor.start()

    def handle(self, name: str) -> Any:
        return ray.get_actor(f"{self._scope}.{name}")

    def ask(self, name: str, method: str) -> Any:
        return ray.get(getattr(self.handle(name), method).remote(), timeout=PATIENCE_S)

    def pid(self, name: str) -> int:
        (found,) = [actor.pid for actor in self.supervisor.status() if actor.name == name]
        assert found is not None
        return found

    def restarts(self, name: str) -> int:
        (found,) = [actor.restart_count for actor in self.supervisor.status() if actor.name == name]
        return found

    def step_until(self, holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        def stepped() -> bool:
            self.supervisor.step()
            return holds()

        wait_until(stepped, timeout_s)

    def is_healthy(self) -> bool:
        return all(actor.is_healthy for actor in self.supervisor.status())

    def actors(self, role: str, state: str) -> float:
        return self.metrics.value(Metric.ACTORS, role=role, state=state)


@contextmanager
def watching(settings: Settings, **classes: Any) -> Generator[Watched]:
    """Whatever the test did, its actors end with it."""
    watched = Watched(settings, **classes)
    try:
        yield watched
    finally:
        watched.supervisor.drain(0)


def test_it_starts_pools_and_workers_and_drains_them(local_ray: None) -> None:
    ray_settings = RaySettings(slots=2, slot_start=3, health_interval_s=0.1)
    settings = settings_of(ray_settings, stages=StagesSettings(bias=StageSettings(placement="actor", replicas=2)))
    with watching(settings) as watched:
        assert [actor.name for actor in watched.supervisor.status()] == [
            "stage-bias-0",
            "stage-bias-1",
            "ingress-3",
            "ingress-4",
        ]
        watched.supervisor.step()
        assert watched.actors("stage", "starting") == 2
        watched.step_until(lambda: watched.is_healthy() and watched.actors("ingress", "ready") == 2)
        assert (watched.actors("stage", "ready"), watched.actors("stage", "starting")) == (2, 0)
        assert [placed.name for _, placed in watched.supervisor.placed()][:2] == ["stage-bias-0", "stage-bias-1"]
        scope = f"{settings.kafka.group_id}.{settings.kafka.cluster_name}"
        assert watched.ask("ingress-4", "pools") == {"bias": [f"{scope}.stage-bias-0", f"{scope}.stage-bias-1"]}
        assert watched.ask("ingress-3", "run_count") == 1
        assert watched.supervisor.drain(5)
        assert watched.supervisor.status() == []
        with pytest.raises(ValueError, match="ingress-3"):
            watched.handle("ingress-3")


def test_a_worker_that_fails_is_started_again_with_growing_pauses_until_it_is_given_up(local_ray: None) -> None:
    """However long a run takes to fail: one that waits for brokers takes a minute and has not worked."""
    clock = ManualClock()
    settings = settings_of(RaySettings(restarts_max=3, start_timeout_s=3600, restart_backoff_max_s=0.8))
    with watching(settings, ingress_class=FailingActor, monotonic_s=clock.monotonic_s) as watched:
        for failures, pause_s in enumerate((0.25, 0.5, 0.8), start=1):
            clock.advance(HEALTHY_RUN_S * 2)
            watched.step_until(lambda count=failures: watched.restarts("ingress-0") == count)
            clock.advance(pause_s - 0.01)
            watched.supervisor.step()
            assert watched.ask("ingress-0", "run_count") == failures, "too early"
            clock.advance(0.02)
            watched.supervisor.step()
            wait_until(lambda count=failures: watched.ask("ingress-0", "run_count") == count + 1, PATIENCE_S)
        with pytest.raises(SupervisorError, match="ConnectionError") as caught:
            watched.step_until(lambda: False, 20)
        assert caught.value.args[:2] == ("ingress-0", 4)
        assert watched.metrics.value(Metric.ACTOR_RESTARTS, role="ingress") == 4


def test_a_failure_after_good_work_starts_counting_anew(local_ray: None) -> None:
    clock = ManualClock()
    settings = settings_of(RaySettings(restarts_max=1, start_timeout_s=3600))
    with watching(settings, ingress_class=LateFailingActor, monotonic_s=clock.monotonic_s) as watched:
        for failures in (1, 2, 3):
            watched.step_until(lambda count=failures: watched.ask("ingress-0", "run_count") == count)
            for _ in range(2):
                watched.step_until(watched.is_healthy)
            wait_until(lambda: watched.ask("ingress-0", "health").loop is not None, PATIENCE_S)
            for _ in range(20):
                watched.supervisor.step()
            clock.advance(HEALTHY_RUN_S)
            ray.get(watched.handle("ingress-0").drain.remote(0))
            watched.step_until(lambda count=failures: watched.restarts("ingress-0") == count)
            clock.advance(1)


def test_a_stage_actor_that_is_stuck_in_a_batch_is_replaced(local_ray: None) -> None:
    settings = settings_of(stages=StagesSettings(bias=ACTOR))
    with watching(settings, stage_class=SlowActor) as watched:
        watched.step_until(watched.is_healthy)
        pid = watched.pid("stage-bias-0")
        given = check_input()
        watched.handle("stage-bias-0").run.remote(encode_batch([encode_item(given)]), encode_policies([given.policy]))
        watched.step_until(lambda: watched.pid("stage-bias-0") != pid and watched.is_healthy())
        assert watched.restarts("stage-bias-0") == 1
        assert watched.metrics.value(Metric.ACTOR_RESTARTS, role="stage") == 1
        assert watched.metrics.value(Metric.ACTOR_RESTARTS, role="ingress") == 0


def test_a_worker_that_does_not_answer_is_replaced_and_put_to_work_again(local_ray: None) -> None:
    with watching(settings_of()) as watched:
        watched.step_until(watched.is_healthy)
        pid = watched.pid("ingress-0")
        os.kill(pid, signal.SIGSTOP)
        watched.step_until(lambda: watched.actors("ingress", "unhealthy") == 1)
        watched.step_until(lambda: watched.pid("ingress-0") != pid and watched.is_healthy())
        watched.step_until(lambda: watched.ask("ingress-0", "run_count") == 1)
        assert watched.metrics.value(Metric.ACTOR_RESTARTS, role="ingress") == 1


def test_a_stage_actor_that_is_killed_comes_back_and_is_not_killed_again_meanwhile(local_ray: None) -> None:
    settings = settings_of(stages=StagesSettings(bias=ACTOR))
    with watching(settings, stage_class=SlowStartActor) as watched:
        watched.step_until(watched.is_healthy)
        assert watched.restarts("stage-bias-0") == 0, "a slow start is no failure either"
        pid = watched.pid("stage-bias-0")
        os.kill(pid, signal.SIGKILL)
        watched.step_until(lambda: watched.pid("stage-bias-0") != pid and watched.is_healthy())
        assert watched.restarts("stage-bias-0") == 1
        assert watched.metrics.value(Metric.ACTOR_RESTARTS, role="stage") == 1


def test_an_actor_that_is_not_ready_in_time_is_given_up(local_ray: None) -> None:
    settings = settings_of(RaySettings(start_timeout_s=0.5), stages=StagesSettings(bias=ACTOR))
    with watching(settings, stage_class=SlowStartActor) as watched, pytest.raises(SupervisorError, match="not ready"):
        watched.step_until(lambda: False, 20)


def test_a_broken_policy_is_given_up_with_its_reason(local_ray: None, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.yaml"
    bundle.write_text("version: '1'\n")
    policy = PolicySettings(bundle=str(bundle))
    with watching(settings_of(RaySettings(restarts_max=0), policy=policy), ingress_class=IngressActor) as watched:
        with pytest.raises(SupervisorError, match="PolicyError") as by_worker:
            watched.step_until(lambda: False, PATIENCE_S)
        assert by_worker.value.args[:2] == ("ingress-0", 1)


@pytest.mark.kafka
def test_a_drain_while_the_worker_is_being_built_is_clean_too(kafka: Kafka) -> None:
    made = fresh_settings(kafka)
    with watching(settings_of(kafka=made.kafka, topics=made.topics), ingress_class=IngressActor) as watched:
        assert watched.supervisor.drain(20)
