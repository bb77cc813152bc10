"""The Ray form under a few kills, with the session's vLLM; the long form, which kills the model too, is a command."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from serving.engine.child_server import VllmServer
from tests.chaos.ray_faults import MODEL_FAULTS, WORKER_FAULTS, RayFault, fault_plan
from tests.chaos.ray_form import Options, RayForm, chaos_settings
from tests.chaos.ray_parts import Descendants
from tests.plugins.kafka_broker import Kafka

FAULTS = 4


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.vllm
@pytest.mark.timeout(1800)
def test_every_event_is_answered_once_whichever_actor_or_supervisor_is_killed(
    kafka: Kafka, vllm_server: VllmServer, tmp_path: Path
) -> None:
    processes = Descendants()
    settings = chaos_settings(kafka.settings(), tmp_path, ray_address="", base_url=vllm_server.base_url)
    options = Options(faults=FAULTS, seed=3, asks_model=True, calm_s=5.0, pause_s=(0.5, 2.5), rate_s=6.0)
    result = RayForm(settings, options, tmp_path, processes, probe=None, say=print).run()
    assert result.violations == ()
    assert set(result.faults) == {fault.value for fault in WORKER_FAULTS}
    assert result.by_model > 0
    assert processes.end() == ()


def test_a_long_plan_has_every_kind_and_leaves_the_model_time_to_come_back() -> None:
    plan = fault_plan(110, 7, with_model=True)
    counts = Counter(plan)
    assert len(plan) == 110
    assert set(counts) == set(RayFault)
    places = [index for index, fault in enumerate(plan) if fault in MODEL_FAULTS]
    assert len(places) == 10
    assert all(later - earlier >= 10 for earlier, later in pairwise(places))


def test_a_plan_without_a_model_kills_workers_only() -> None:
    plan = fault_plan(FAULTS, 3, with_model=False)
    assert set(plan) == set(WORKER_FAULTS)
    assert len(plan) == FAULTS
