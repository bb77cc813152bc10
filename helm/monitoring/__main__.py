"""The command `python -m helm.monitoring ROOT`: writes rules and dashboards where the chart and docs keep them."""

import sys
from pathlib import Path

from helm.monitoring.alerts import chart_yaml, rules_yaml
from helm.monitoring.boards import dashboard_files

CHART_FILES = "helm/sluicegate/files"
RULES_PAGE = "docs/monitoring/rules.yaml"


def files() -> dict[str, str]:
    """Return the text of every generated file by its path below the repository's root."""
    dashboards = {f"{CHART_FILES}/dashboards/{name}": text for name, text in dashboard_files().items()}
    return {RULES_PAGE: rules_yaml(), f"{CHART_FILES}/rules/sluicegate.yaml": chart_yaml(), **dashboards}


def main(root: Path) -> None:
    """Write all generated files below `root`."""
    for name, text in files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
