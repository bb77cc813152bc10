"""Alert rules and dashboards as the chart installs them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.cases import MINIMAL, examples
from tests.helm.engine import CHART, Document, Engine, Values, merged

RULES_ON: Values = {"metrics": {"rules": {"enabled": True}, "dashboards": {"enabled": True}}}


def _groups(documents: list[Document]) -> list[dict[str, Any]]:
    return [group for each in documents if each["kind"] == "PrometheusRule" for group in each["spec"]["groups"]]


def _rules(documents: list[Document]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in _groups(documents) for rule in group["rules"]}


def test_prometheus_takes_the_rules(engine: Engine, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: apt-get install prometheus")
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": _groups(engine.render(merged(MINIMAL, RULES_ON)))}), encoding="utf-8")
    checked = subprocess.run(
        [promtool, "check", "rules", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_mark_is_left_in_an_expression(engine: Engine) -> None:
    rules = _rules(engine.render(merged(MINIMAL, RULES_ON)))
    assert len(rules) > 20
    for rule in rules.values():
        assert "$" not in rule["expr"], rule["alert"]
        assert "null" not in rule["expr"], rule["alert"]


def test_rules_look_at_this_namespace_alone(engine: Engine) -> None:
    assert 'namespace="chat"' in _rules(engine.render(merged(MINIMAL, RULES_ON)))["SluicegateFailClosed"]["expr"]


def test_thresholds_durations_and_labels_can_be_set_and_alerts_left_out(engine: Engine) -> None:
    overrides = {
        "SluicegateFailClosed": {"threshold": 0.125, "for": "42m", "labels": {"team": "safety"}},
        "SluicegateCanaryStale": {"enabled": False},
        "SluicegateVerdictFlatline": {"threshold": 0},
    }
    rules = _rules(engine.render(merged(MINIMAL, RULES_ON, {"metrics": {"rules": {"overrides": overrides}}})))
    changed = rules["SluicegateFailClosed"]
    assert "> 0.125 and" in changed["expr"]
    assert changed["for"] == "42m"
    assert changed["labels"] == {"severity": "page", "team": "safety"}
    assert "SluicegateCanaryStale" not in rules
    assert rules["SluicegateVerdictFlatline"]["expr"].endswith("> 0")


def test_runbooks_are_links(engine: Engine) -> None:
    for rule in _rules(engine.render(examples()["statefulset-keda"])).values():
        assert rule["annotations"]["runbook_url"].startswith("https://example.com/runbooks/")


def test_each_dashboard_is_a_config_map_that_the_sidecar_finds(engine: Engine) -> None:
    found = [
        each for each in engine.render(merged(MINIMAL, RULES_ON)) if "grafana_dashboard" in each["metadata"]["labels"]
    ]
    assert len(found) == len(list((CHART / "files" / "dashboards").glob("*.json"))) > 0
    for each in found:
        ((name, text),) = each["data"].items()
        assert json.loads(text) == json.loads((CHART / "files" / "dashboards" / name).read_text(encoding="utf-8"))


def test_a_chart_without_rules_and_dashboards_renders(tmp_path: Path) -> None:
    bare = shutil.copytree(CHART, tmp_path / "sluicegate", ignore=shutil.ignore_patterns("files"))
    with Engine(bare) as engine:
        assert _groups(engine.render(merged(MINIMAL, RULES_ON))) == []
