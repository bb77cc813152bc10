"""Alert rules, judged by Prometheus' own tool: each fires where it must, is silent where it must be, and ends."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.monitoring.alert import Alert
from helm.monitoring.alerts import ALERTS, rules, rules_yaml
from helm.monitoring.foreign import FOREIGN
from tests.checkout import ROOT
from topology.telemetry.metrics import METRICS

PROMTOOL = shutil.which("promtool") or ""
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool (Debian package prometheus) is not installed")
CASES: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("alert_cases.yaml").read_text(encoding="utf-8")
)
GONE = "60m"
WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def promtool(*arguments: str, cwd: Path) -> str:
    done = subprocess.run([PROMTOOL, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def own_names() -> set[str]:
    """Every series name that the registry's metrics are exported under."""
    names: set[str] = set()
    for spec in METRICS:
        suffixes = ("_bucket", "_sum", "_count") if spec.kind == "histogram" else ("",)
        names.update(f"{spec.name.value}{suffix}" for suffix in suffixes)
    return names


def metric_names(expr: str) -> set[str]:
    """What in an expression is named like a metric of ours or of those that we read."""
    return {word for word in WORD.findall(expr) if re.match(r"(sluicegate_|vllm:|ray_|kuberay_|kube_)", word)}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_reads_only_metrics_that_somebody_exports(alert: Alert) -> None:
    named = metric_names(alert.expr)
    assert named
    assert named <= own_names() | FOREIGN


def test_alerts_have_names_of_their_own_and_a_page_each() -> None:
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
    pages = {path.name for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README.md"}
    assert pages == {alert.runbook for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_a_runbook_says_what_it_means_what_to_do_and_how_it_ends(alert: Alert) -> None:
    page = (ROOT / "docs/runbooks" / alert.runbook).read_text(encoding="utf-8")
    assert page.startswith(f"# {alert.name}\n")
    for heading in ("## What it means", "## What to do", "## When it is over"):
        assert heading in page


def test_the_rule_file_that_is_checked_in_is_current() -> None:
    assert (ROOT / "docs/monitoring/rules.yaml").read_text(encoding="utf-8") == rules_yaml()


@needs_promtool
def test_prometheus_takes_the_rules_for_one_deployment_too(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(rules_yaml(), encoding="utf-8")
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(rules('namespace="a"')), encoding="utf-8")
    assert promtool("check", "rules", "all.yaml", "one.yaml", cwd=tmp_path).count(f"{len(ALERTS)} rules found") == 2


def test_every_alert_has_its_case() -> None:
    assert CASES.keys() == {alert.name for alert in ALERTS}


def _expected(alert: Alert, case: dict[str, Any]) -> dict[str, Any]:
    rule = next(rule for group in rules()["groups"] for rule in group["rules"] if rule["alert"] == alert.name)
    return {"exp_labels": {**rule["labels"], **case.get("labels", {})}, "exp_annotations": rule["annotations"]}


def _unit(alert: Alert, case: dict[str, Any], history: str) -> dict[str, Any]:
    """One of promtool's tests: the history, and at which times which alerts there are."""
    checks = [
        {
            "eval_time": case["at"],
            "alertname": alert.name,
            "exp_alerts": [_expected(alert, case)] if history == "fires" else [],
        }
    ]
    if history == "fires" and case.get("gone") != "none":
        checks.append({"eval_time": case.get("gone", GONE), "alertname": alert.name, "exp_alerts": []})
    series = [{"series": name, "values": values} for name, values in case[history].items()]
    return {"name": f"{alert.name} {history}", "interval": "1m", "input_series": series, "alert_rule_test": checks}


@needs_promtool
def test_every_alert_fires_ends_and_is_silent_on_a_quiet_day(tmp_path: Path) -> None:
    """Two histories for each alert, each suite over that alert's rule alone."""
    for alert in ALERTS:
        case = CASES[alert.name]
        rule = next(rule for group in rules()["groups"] for rule in group["rules"] if rule["alert"] == alert.name)
        alone = {"groups": [{"name": alert.group, "rules": [rule]}]}
        (tmp_path / f"{alert.name}.rules.yaml").write_text(yaml.safe_dump(alone), encoding="utf-8")
        suite = {
            "rule_files": [f"{alert.name}.rules.yaml"],
            "evaluation_interval": case.get("every", "1m"),
            "tests": [_unit(alert, case, history) for history in ("fires", "quiet")],
        }
        (tmp_path / f"{alert.name}.test.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    told = promtool("test", "rules", *sorted(path.name for path in tmp_path.glob("*.test.yaml")), cwd=tmp_path)
    assert told.count("SUCCESS") == len(ALERTS)
