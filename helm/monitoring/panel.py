"""The parts of a dashboard, and its JSON as Grafana reads it. Layout follows from order and width."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from helm.monitoring.alert import fill

PanelKind = Literal["timeseries", "stat", "heatmap", "table", "bargauge"]

WHERE: Final = 'namespace=~"$namespace"'
SCHEMA_VERSION: Final = 39
"""Grafana 11's version; older releases ignore fields that they do not know."""
COLUMNS: Final = 24
HEIGHT: Final = 8
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


class Query(Struct, frozen=True):
    """One PromQL expression, with `$where` for the deployment, and the legend of its series."""

    expr: str
    legend: str = ""
    has_exemplars: bool = False


class Panel(Struct, frozen=True, kw_only=True):
    """One panel. `unit` is Grafana's name of it; values from `red_from` on are red; `width` is in 24ths of a row."""

    title: str
    queries: tuple[Query, ...]
    about: str = ""
    kind: PanelKind = "timeseries"
    unit: str = "short"
    red_from: float | None = None
    width: int = 8


class Board(Struct, frozen=True, kw_only=True):
    """One dashboard. `uid` never changes, because links and bookmarks contain it."""

    uid: str
    title: str
    about: str
    panels: tuple[Panel, ...]


def dashboard(board: Board) -> dict[str, Any]:
    """Return the dashboard as Grafana imports it; data source and namespace are variables."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["sluicegate"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "graphTooltip": 1,
        "templating": {"list": _variables()},
        "annotations": {"list": [_policy_changes()]},
        "links": [{"type": "dashboards", "tags": ["sluicegate"], "title": "Sluicegate", "asDropdown": True}],
        "panels": list(_placed(board.panels)),
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": "namespace",
            "type": "query",
            "label": "Namespace",
            "datasource": _DATASOURCE,
            "query": {"query": "label_values(sluicegate_build_info, namespace)", "refId": "namespace"},
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "refresh": 2,
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _policy_changes() -> dict[str, Any]:
    return {
        "name": "Policy changes",
        "datasource": _DATASOURCE,
        "enable": True,
        "iconColor": "purple",
        "expr": fill("changes(sluicegate_policy_info{$where}[2m]) > 0", WHERE),
        "titleFormat": "policy {{version}} {{hash}}",
        "step": "60s",
    }


def _placed(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    """Place panels from left to right, and begin a new row when the next one does not fit."""
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        yield {"id": number, "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT}, **_panel(panel)}
        x += panel.width


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.red_from is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.red_from}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never", "thresholdsStyle": {"mode": "line"}}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [_target(panel, query, index) for index, query in enumerate(panel.queries)],
    }


def _target(panel: Panel, query: Query, index: int) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + index),
        "datasource": _DATASOURCE,
        "expr": fill(query.expr, WHERE),
        "legendFormat": query.legend or "__auto",
        "exemplar": query.has_exemplars,
        "instant": panel.kind in {"stat", "table", "bargauge"},
        "format": "heatmap" if panel.kind == "heatmap" else "table" if panel.kind == "table" else "time_series",
    }
