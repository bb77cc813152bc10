"""All alerts, and the files made of them: Prometheus rules and the chart's data."""

from typing import Any, Final

import yaml

from helm.monitoring.alert import Alert
from helm.monitoring.pipeline_alerts import DELIVERY, ENFORCEMENT, FLOW, POLICY
from helm.monitoring.surrounding_alerts import DOOR, MODELS, PLATFORM

ALERTS: Final[tuple[Alert, ...]] = (*ENFORCEMENT, *POLICY, *FLOW, *DELIVERY, *DOOR, *MODELS, *PLATFORM)

RUNBOOK_BASE: Final = "docs/runbooks/"


def rules(where: str = "", runbook_base: str = RUNBOOK_BASE) -> dict[str, Any]:
    """Return a Prometheus rule file as a document: one group for each of the alerts' groups, default thresholds."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for alert in ALERTS:
        groups.setdefault(alert.group, []).append(_rule(alert, where, runbook_base))
    return {"groups": [{"name": f"sluicegate-{name}", "rules": each} for name, each in groups.items()]}


def rules_yaml() -> str:
    """Return the rule file for a Prometheus without the chart."""
    return _HEADER + _yaml(rules())


def chart_yaml() -> str:
    """Return the alerts as the chart reads them: expressions keep their marks, so that values can set thresholds."""
    listed = [
        {
            "alert": alert.name,
            "group": alert.group,
            "expr": alert.expr,
            "for": alert.hold,
            "severity": alert.severity,
            "summary": alert.summary,
            "description": alert.first,
            "runbook": alert.runbook,
            **({} if alert.threshold is None else {"threshold": alert.threshold}),
        }
        for alert in ALERTS
    ]
    return _HEADER + _yaml({"alerts": listed})


_HEADER: Final = "# Generated from helm/monitoring by `make schema`; not edited by hand.\n"


def _rule(alert: Alert, where: str, runbook_base: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.filled(where),
        "for": alert.hold,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.first,
            "runbook_url": f"{runbook_base}{alert.runbook}",
        },
    }


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=4096, allow_unicode=True)
