"""A stage's batches on real Ray actors: answered, answered after a kill, and never a pass where it cannot tell."""

import asyncio
import os
import signal
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.checkout import ROOT
from tests.contracts.samples import check_input
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.scripted_actors import GarbageActor, SlowActor
from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome
from topology.ports import CheckInput
from topology.telemetry.instruments import Instruments
from workers.settings import Settings, StageSettings
from workers.stages.batching import BatchedCheck
from workers.stages.building import build_stage
from workers.stages.pool import ActorRunner
from workers.supervision.actors import StageActor

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SETTINGS = Settings()
STAGE = StageSettings(placement="actor", timeout_s=20)
SLOW_S = 0.6

Actors = list[Any]


@pytest.fixture(scope="module")
def pool(local_ray: None) -> Generator[Actors]:
    """Two replicas of the bias stage, for tests that leave them as they are."""
    actors = [StageActor.options(num_cpus=0.1).remote(SETTINGS, "bias") for _ in range(2)]
    ray.get([actor.health.remote() for actor in actors], timeout=PATIENCE_S)
    yield actors
    end(actors)


@pytest.fixture
def actors() -> Generator[Actors]:
    """Actors of one test, ended with it."""
    made: Actors = []
    yield made
    end(made)


def end(actors: Actors) -> None:
    for actor in actors:
        ray.kill(actor, no_restart=True)


DRAFTS = [check_input(f"Draft {number}: all women are number {number}.") for number in range(60)]


def expected(inputs: Sequence[CheckInput]) -> list[CheckReport]:
    """What the stage says of them here."""
    return list(build_stage(SETTINGS, "bias").run(inputs))


def run(actors: Actors, inputs: Sequence[CheckInput], settings: StageSettings = STAGE) -> list[CheckReport]:
    """One batch by a runner over these actors."""
    runner = ActorRunner("bias", actors, settings)

    async def session() -> list[CheckReport]:
        return list(await runner.run([runner.prepare(one) for one in inputs]))

    return asyncio.run(session())


def failure(actors: Actors, inputs: Sequence[CheckInput], settings: StageSettings = STAGE) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        run(actors, inputs, settings)
    return caught.value


def health(actor: Any) -> Any:
    return ray.get(actor.health.remote(), timeout=PATIENCE_S)


def test_actors_import_this_checkout(pool: Actors) -> None:
    @ray.remote(num_cpus=0.1)
    def where() -> str:
        import workers

        return workers.__path__[0]

    found: Any = ray.get(where.remote(), timeout=PATIENCE_S)
    assert Path(found) == ROOT / "workers"


def test_actors_have_the_priority_of_their_driver(pool: Actors) -> None:
    def priority(pid: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, pid)

    assert {priority(health(actor).pid) for actor in pool} == {priority(0)}


def test_a_batch_is_answered_by_an_actor_as_it_would_be_here(pool: Actors) -> None:
    assert run(pool, DRAFTS[:5]) == expected(DRAFTS[:5])


def test_micro_batches_keep_each_report_with_its_draft(pool: Actors) -> None:
    settings = StageSettings(placement="actor", replicas=2, batch_events_max=7, timeout_s=20)

    def batch_counts() -> list[int]:
        return [health(actor).batch_count for actor in pool]

    async def session() -> tuple[list[int], list[CheckReport]]:
        runner = ActorRunner("bias", pool, settings)
        check = BatchedCheck("bias", "1", runner, settings, Instruments.none())
        try:
            await check.check(DRAFTS[0])
            while not all(replica.is_warm for replica in runner._replicas):  # noqa: ASYNC110 - Ray says when
                await asyncio.sleep(0.01)
            before = await asyncio.to_thread(batch_counts)
            return before, await asyncio.gather(*(check.check(one) for one in DRAFTS))
        finally:
            await check.close()

    before, reports = asyncio.run(session())
    assert reports == expected(DRAFTS)
    assert len({report.scores["stereotype"] for report in reports}) > 1
    took = [after - count for after, count in zip(batch_counts(), before, strict=True)]
    assert min(took) >= 3, "both replicas work"
    assert -(-len(DRAFTS) // 7) <= sum(took) < len(DRAFTS) // 2, "a limit that has only begun to grow cuts some short"


def test_a_stage_that_raises_could_not_tell_and_its_text_stays_there(pool: Actors) -> None:
    secret = "confidential "
    failed = failure(pool, [check_input(secret * 400_000)])
    assert (failed.outcome, failed.detail) == (Outcome.CRASHED, "WindowError")
    assert "confidential" not in str(failed)
    assert run(pool, DRAFTS[:1]) == expected(DRAFTS[:1]), "the actor goes on"


def test_an_actor_that_answers_garbage_could_not_tell(actors: Actors) -> None:
    actors.append(GarbageActor.options(num_cpus=0.1).remote(SETTINGS, "bias"))
    assert failure(actors, DRAFTS[:1]).outcome is Outcome.UNPARSABLE


def test_a_replica_that_is_gone_for_good_leaves_its_batches_to_the_other(actors: Actors) -> None:
    actors.extend(StageActor.options(num_cpus=0.1).remote(SETTINGS, "bias") for _ in range(2))
    ray.get([actor.health.remote() for actor in actors], timeout=PATIENCE_S)
    ray.kill(actors[0], no_restart=True)
    assert run(actors, DRAFTS[:2]) == expected(DRAFTS[:2])


def test_a_replica_that_hangs_leaves_its_batches_to_the_other(actors: Actors) -> None:
    actors.append(SlowActor.options(num_cpus=0.1).remote(SETTINGS, "bias"))
    actors.append(StageActor.options(num_cpus=0.1).remote(SETTINGS, "bias"))
    ray.get([actor.health.remote() for actor in actors], timeout=PATIENCE_S)
    assert run(actors, DRAFTS[:2], StageSettings(placement="actor", timeout_s=8)) == expected(DRAFTS[:2])


def test_a_batch_whose_actor_is_killed_is_answered_within_its_timeout(actors: Actors) -> None:
    actors.append(SlowActor.options(num_cpus=0.1).remote(SETTINGS, "bias", SLOW_S))
    pid = health(actors[0]).pid

    async def session() -> Sequence[CheckReport]:
        runner = ActorRunner("bias", actors, STAGE)
        batch = asyncio.create_task(runner.run([runner.prepare(DRAFTS[0])]))
        await asyncio.to_thread(wait_until, lambda: health(actors[0]).busy_s > 0, PATIENCE_S)
        os.kill(pid, signal.SIGKILL)
        return await batch

    assert list(asyncio.run(session())) == expected(DRAFTS[:1])
    assert health(actors[0]).pid != pid


def test_health_is_answered_while_a_batch_runs_and_a_late_batch_could_not_tell(actors: Actors) -> None:
    actors.append(SlowActor.options(num_cpus=0.1).remote(SETTINGS, "bias", SLOW_S))
    assert health(actors[0]).busy_s == 0
    began_s = time.monotonic()
    failed = failure(actors, DRAFTS[:1], StageSettings(placement="actor", timeout_s=0.3))
    assert failed.outcome is Outcome.TIMEOUT
    busy = health(actors[0])
    assert 0 < busy.busy_s <= time.monotonic() - began_s
    assert busy.batch_count == 0
    wait_until(lambda: health(actors[0]).batch_count == 1, PATIENCE_S)
    assert health(actors[0]).busy_s == 0
