"""All dashboards as files that Grafana imports."""

import json
from typing import Final

from helm.monitoring.panel import Board, dashboard
from helm.monitoring.pipeline_boards import AUDIT, KAFKA, OVERVIEW, QUALITY, STAGES
from helm.monitoring.surrounding_boards import PLATFORM, VLLM

BOARDS: Final[tuple[Board, ...]] = (OVERVIEW, QUALITY, STAGES, KAFKA, VLLM, PLATFORM, AUDIT)


def dashboard_files() -> dict[str, str]:
    """Return the JSON of each dashboard by its file name."""
    return {f"{board.uid}.json": json.dumps(dashboard(board), indent=1, ensure_ascii=False) + "\n" for board in BOARDS}
