"""Helm's engine for tests: one process in the tool environment, asked by lines of JSON."""

import json
import subprocess
from pathlib import Path
from typing import Any, Self

import yaml

from tests.checkout import ROOT

CHART = ROOT / "helm" / "sluicegate"
DATA = ROOT / "tests" / "data" / "chart"
TOOL_SECONDS_MAX = 300

Document = dict[str, Any]
Values = dict[str, Any]


class RenderRefused(Exception):
    """Schema or template refused the values; `args[0]` is what a user of Helm sees."""


class Engine:
    """Renders, lints and validates. Use as a context manager: the process ends with it."""

    def __init__(self, chart: Path = CHART) -> None:
        built = subprocess.run(
            ["sh", ROOT / "requirements" / "tool.sh", "helm"],
            check=False,
            timeout=TOOL_SECONDS_MAX,
            capture_output=True,
            text=True,
        )
        assert built.returncode == 0, f"the tool environment could not be built: {built.stderr[-2000:]}"
        self._process = subprocess.Popen(
            [ROOT / "var" / "tools" / "helm" / "bin" / "python", ROOT / "tests" / "helm" / "tool.py", chart],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def render_files(
        self, values: Values, name: str = "gate", namespace: str = "chat", *, is_upgrade: bool = False
    ) -> dict[str, str]:
        """The rendered text of each template, NOTES.txt among them. Raises RenderRefused."""
        return self._ask(do="render", values=values, name=name, namespace=namespace, is_upgrade=is_upgrade)

    def render(self, values: Values, name: str = "gate", namespace: str = "chat") -> list[Document]:
        """Every object, in the order of the templates' names. Raises RenderRefused."""
        files = self.render_files(values, name, namespace)
        texts = [text for path, text in sorted(files.items()) if not path.endswith(".txt")]
        return [document for text in texts for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]

    def lint(self, values: Values) -> list[str]:
        """What `helm lint --strict` minds."""
        report = self._ask(do="lint", values=values)
        return report["errors"] + [message["error"] for message in report["messages"] if message["severity"] >= 2]

    def package(self, directory: Path) -> Path:
        """The chart as an archive in `directory`, as it is published."""
        return Path(self._ask(do="package", destination=str(directory)))

    def validate(self, documents: list[Document], versions: tuple[str, ...]) -> list[str]:
        """What the strict schemas of these versions of Kubernetes mind."""
        return self._ask(do="validate", documents=documents, versions=versions)

    def _ask(self, **request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "Helm's engine ended"
        answer = json.loads(line)
        if "error" in answer:
            raise RenderRefused(answer["error"])
        return answer["result"]


def merged(*parts: Values) -> Values:
    """Values over values, as Helm lays one file over another."""
    result: Values = {}
    for part in parts:
        for key, value in part.items():
            below = result.get(key)
            both = isinstance(value, dict) and isinstance(below, dict)
            result[key] = merged(below, value) if both else value  # pyright: ignore[reportArgumentType]
    return result


def load_values(path: Path) -> Values:
    """One file of values."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))
