"""The rooms' layers can be broken and are then reported; the command line starts without loading anything heavy."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import ROOT

PACKAGES = ("topology", "serving", "workers")

OF_TOPOLOGY = {
    "topology.telemetry": "opentelemetry",
    "topology.policy.document_bounds": "yaml",
}
"""What topology may import beside the standard library and msgspec, and where. Of OpenTelemetry only the API (ruff)."""

HEAVY = frozenset({"torch", "transformers", "vllm", "ray", "presidio_analyzer", "spacy"})
"""What costs seconds to import; `vllm` and `torch` may not even be there where a worker runs."""


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    _module_name(path): ast.parse(path.read_bytes(), str(path))
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _targets(node: ast.AST) -> Iterator[str]:
    """Full names of what an import statement could load: the module, and each name that may be a submodule."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"relative import, line {node.lineno}"
        assert node.module is not None
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imported_at_start(body: list[ast.stmt]) -> Iterator[str]:
    """What importing the module loads at once: everything outside functions and `if TYPE_CHECKING`."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(statement):
            continue
        yield from _targets(statement)
        for field in ("body", "orelse", "finalbody"):
            yield from _imported_at_start(getattr(statement, field, []))
        for handler in getattr(statement, "handlers", []):
            yield from _imported_at_start(handler.body)


def _roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)


def test_topology_imports_the_standard_library_and_msgspec_alone() -> None:
    beyond: list[str] = []
    for module, tree in MODULES.items():
        if module.partition(".")[0] == "topology":
            allowed = {"topology", "msgspec"}
            allowed |= {name for room, name in OF_TOPOLOGY.items() if f"{module}.".startswith(f"{room}.")}
            found = _roots({name for node in ast.walk(tree) for name in _targets(node)})
            beyond += [f"{module} imports {name}" for name in sorted(found - allowed)]
    assert not beyond, "give it a port instead"


def test_packages_import_no_tests_and_no_benchmarks() -> None:
    reaching = [
        module
        for module, tree in MODULES.items()
        if _roots({name for node in ast.walk(tree) for name in _targets(node)}) & {"tests", "bench", "helm"}
    ]
    assert not reaching


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and of the contracts that hold for them."""
    folder = tmp_path_factory.mktemp("layers")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of a checkout as `make lint` does."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("workers/kafka/topics.py", "import workers.stream.loop", "rooms of workers BROKEN"),
        ("topology/delivery/rounds.py", "import topology.policy.bundle", "rooms of topology BROKEN"),
        ("serving/text/features.py", "import kafka", "rooms that may use kafka BROKEN"),
        (
            "topology/contract/events.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import topology.contract.codec",
            "no circles BROKEN",
        ),
        ("workers/hallway/__init__.py", '"""A room that nobody placed."""', "hallway"),
    ],
)
def test_a_wrong_import_or_an_unplaced_room_breaks_the_build(copy: Path, module: str, line: str, broken: str) -> None:
    path = copy / module
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{line}\n{before or ''}", encoding="utf-8")
    try:
        done = _lint(copy)
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before, encoding="utf-8")
    assert done.returncode == 1, done.stdout
    assert broken in done.stdout


def test_the_layers_hold(copy: Path) -> None:
    done = _lint(copy)
    assert done.returncode == 0, done.stdout


def _loaded_with(start: str) -> dict[str, str]:
    """Every module of the packages that importing `start` loads at once, with the one that asked for it."""
    found = {start: start}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        for name in _imported_at_start(MODULES[module].body):
            for loaded in _with_parents(name):
                if loaded in MODULES and loaded not in found:
                    found[loaded] = module
                    waiting.append(loaded)
    return found


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def test_nothing_heavy_stands_at_the_top_of_a_module_that_the_command_line_imports() -> None:
    heavy = {
        module: sorted(found)
        for module in _loaded_with("workers.cli")
        if (found := _roots(set(_imported_at_start(MODULES[module].body))) & HEAVY)
    }
    assert not heavy, "import these in the function that needs them"


def test_the_command_line_loads_nothing_heavy_through_others_either() -> None:
    code = f"import sys, workers.cli; print(*({set(HEAVY)} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
