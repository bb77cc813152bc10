"""Dashboards: current files, expressions that Prometheus parses, metrics that exist, panels that do not overlap."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.monitoring.__main__ import files
from helm.monitoring.boards import BOARDS
from helm.monitoring.foreign import FOREIGN
from helm.monitoring.panel import COLUMNS, Board, dashboard
from tests.checkout import ROOT
from topology.telemetry.metrics import METRICS

PROMTOOL = shutil.which("promtool") or ""
CONFIG_MAP_BYTES_MAX = 1 << 20
NAMED = re.compile(r"\b(?:sluicegate_|vllm:|ray_|kuberay_|kube_)[a-zA-Z0-9_:]*")
MADE_BY_SOMEBODY = FOREIGN | {
    f"{spec.name.value}{suffix}"
    for spec in METRICS
    for suffix in (("_bucket", "_sum", "_count") if spec.kind == "histogram" else ("",))
}
every_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def expressions(board: Board) -> Iterator[str]:
    """Every expression of a dashboard, its variables filled in as Grafana would."""
    document = dashboard(board)
    found = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    found.extend(each["expr"] for each in document["annotations"]["list"])
    for expr in found:
        yield expr.replace("$__rate_interval", "5m").replace("$namespace", ".*")


def test_the_files_that_are_checked_in_are_current() -> None:
    for name, text in files().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: run `make schema`"


@every_board
def test_a_dashboard_reads_only_metrics_that_somebody_exports(board: Board) -> None:
    for expr in expressions(board):
        named = set(NAMED.findall(expr))
        assert named, expr
        assert named <= MADE_BY_SOMEBODY, expr


def test_every_metric_of_ours_is_on_a_dashboard_or_in_none_by_intent() -> None:
    shown = {name for board in BOARDS for expr in expressions(board) for name in NAMED.findall(expr)}
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert {spec.name.value for spec in METRICS} - bare - NOT_SHOWN == set()


NOT_SHOWN: set[str] = set()
"""Metrics that only alerts read."""


@pytest.mark.skipif(not PROMTOOL, reason="promtool (Debian package prometheus) is not installed")
def test_prometheus_parses_every_expression(tmp_path: Path) -> None:
    listed = [expr for board in BOARDS for expr in expressions(board)]
    recording = [{"record": f"board:{index}", "expr": expr} for index, expr in enumerate(listed)]
    path = tmp_path / "boards.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": recording}]}), encoding="utf-8")
    done = subprocess.run(
        [PROMTOOL, "check", "rules", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@every_board
def test_panels_fit_their_row_and_do_not_overlap(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(board)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {(x, place["y"]) for x in range(place["x"], place["x"] + place["w"])}
        assert not taken & cells
        taken |= cells


@every_board
def test_a_dashboard_names_no_data_source_and_fits_a_config_map(board: Board) -> None:
    text = json.dumps(dashboard(board))
    assert len(text.encode()) < CONFIG_MAP_BYTES_MAX
    sources = {source["uid"] for source in _data_sources(dashboard(board))}
    assert sources == {"${datasource}"}


def _data_sources(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("datasource"), dict):
            yield value["datasource"]
        for each in value.values():
            yield from _data_sources(each)
    elif isinstance(value, list):
        for each in value:
            yield from _data_sources(each)


def test_uids_are_unique() -> None:
    assert len({board.uid for board in BOARDS}) == len(BOARDS)
