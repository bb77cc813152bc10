"""docs/operators.md is about this chart: values, settings, objects and sizes that it names are there."""

import re
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import pytest

from tests.effort import LONG_FORM
from tests.helm.cases import MINIMAL, STATEFULSET, examples, matrix, tried
from tests.helm.engine import CHART, ROOT, Engine, load_values, merged
from tests.helm.pods import pods
from topology.contract.errors import DeadLetterReason
from topology.telemetry.metrics import Metric
from workers.settings import Settings
from workers.settings.keys import leaves

GUIDE = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^ *```.*?^ *```", "", GUIDE, flags=re.MULTILINE | re.DOTALL)
VALUES = load_values(CHART / "values.yaml")
SETTINGS = {leaf.key for leaf in leaves(Settings)}
OF_OTHERS = {"min.insync.replicas", "max.message.bytes", "user.crt", "user.key"}
REASONS = {reason.value for reason in DeadLetterReason}


def _named() -> list[str]:
    """Names in backticks with dots in them, or with underscores, and nothing else."""
    names = re.findall(r"`([A-Za-z]\w*(?:\.\w+)+|[a-z]+(?:_[a-z]+)+)(?:: [^`]*)?`", PROSE)
    return sorted({name for name in names if not name.endswith((".toml", ".yaml", ".sh", ".md"))} - OF_OTHERS)


def _is_value(name: str) -> bool:
    here: Any = VALUES
    for key in name.split("."):
        if not isinstance(here, dict) or key not in here:
            return False
        here = here[key]
    return True


@pytest.mark.parametrize("name", _named())
def test_a_value_setting_metric_or_reason_that_is_named_exists(name: str) -> None:
    """`server.…` is short for a model's; a setting may be named without its section, or below `settings`."""
    settings = {key.rpartition(".")[2] for key in SETTINGS} | SETTINGS
    known = settings | REASONS | {f"settings.{key}" for key in SETTINGS} | {metric.value for metric in Metric}
    assert name in known or _is_value(name) or _is_value(f"generation.{name}"), name


def test_objects_in_commands_are_those_of_a_release_called_gate(engine: Engine) -> None:
    names = {each["metadata"]["name"] for values in (MINIMAL, STATEFULSET) for each in engine.render(values)}
    said = set(re.findall(r"\bgate-[a-z-]*[a-z](?:-0)?\b", GUIDE))
    assert {name.removesuffix("-0") for name in said} <= names


def test_secrets_are_made_under_the_keys_that_the_chart_reads() -> None:
    keys = {"sluicegate-kafka": "password", "sluicegate-digests": "digest-key", "sluicegate-agent": "token"}
    made = dict(re.findall(r"kubectl create secret generic (\S+) --from-(?:file|literal)=([a-z-]+)=", GUIDE))
    assert made == keys
    assert VALUES["kafka"]["security"]["existingSecret"]["key"] == keys["sluicegate-kafka"]
    assert VALUES["redaction"]["digestKeySecret"]["key"] == keys["sluicegate-digests"]
    assert VALUES["agent"]["tokenSecret"]["key"] == keys["sluicegate-agent"]


def test_the_number_of_combinations_is_told() -> None:
    told = re.search(r"(\d+) in the long form, otherwise the (\d+) of them", GUIDE)
    assert told is not None
    assert int(told[1]) == len(matrix())
    assert LONG_FORM or int(told[2]) == len(tried())


def test_any_three_choices_meet_in_every_way_in_the_combinations_that_are_tried() -> None:
    def meetings(names: Iterable[str], three: tuple[int, ...]) -> set[tuple[str, ...]]:
        return {tuple(name.split("-")[at] for at in three) for name in names}

    for three in combinations(range(6), 3):
        assert meetings(tried(), three) == meetings(matrix(), three)


@pytest.mark.parametrize("preset", ["nano", "small", "medium", "large"])
def test_the_table_of_sizes_is_what_is_rendered(engine: Engine, preset: str) -> None:
    row = re.search(rf"^\| `{preset}` \| (\d+) \| (.+?) \| (.+?) \|", GUIDE, re.MULTILINE)
    assert row is not None
    service = next(each for each in engine.render(merged(MINIMAL, {"preset": preset})) if each["kind"] == "RayService")
    stateful = engine.render(merged(STATEFULSET, {"preset": preset}))
    assert int(row[1]) == next(each for each in stateful if each["kind"] == "StatefulSet")["spec"]["replicas"]
    cluster = service["spec"]["rayClusterConfig"]
    for told, group in ((row[2], cluster["workerGroupSpecs"][0]), (row[3], cluster["headGroupSpec"])):
        requests = group["template"]["spec"]["containers"][0]["resources"]["requests"]
        cpu, memory = int(requests["cpu"].removesuffix("m")) / 1000, int(requests["memory"].removesuffix("Mi")) / 1024
        assert told == f"{cpu:g} CPU, {memory:g} GiB"


def test_the_times_of_a_drain_are_those_of_the_pods(engine: Engine) -> None:
    worker = next(pod for pod in pods(engine.render(examples()["statefulset-keda"])) if pod.owner[:5] == "State")
    hook = " ".join(worker.spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][:4])
    grace_s = worker.spec["terminationGracePeriodSeconds"]
    assert f"| worker | preStop: `{hook}`, then SIGTERM | {grace_s} s in all |" in GUIDE
    assert f"`worker.drainTimeoutSeconds` ({VALUES['worker']['drainTimeoutSeconds']})" in GUIDE.replace("\n", " ")
