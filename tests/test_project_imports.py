"""Imports go one way, and the command line starts without loading anything heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import ROOT

PACKAGES = ("topology", "serving", "workers")

TRACED = frozenset(
    f"topology.telemetry.{name}"
    for name in ("instruments", "tracing", "event_trace", "untraced", "span_handles", "trace_context")
)
"""Modules of topology that may use OpenTelemetry, and of it only the API."""

READS_YAML = "topology.policy.document_bounds"
"""Msgspec reads YAML through PyYAML; this module bounds what it is given."""

HEAVY = frozenset({"torch", "transformers", "vllm", "ray", "presidio_analyzer", "spacy"})
"""What costs seconds to import; `vllm` and `torch` may not even be there where a worker runs."""

ENGINE = frozenset({"serving.engine.application", "serving.engine.deployment"})
"""The modules of serving that are the Ray Serve application; every other one must do without Ray."""

COMMANDS = frozenset({"workers.cli", "workers.__main__"})


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    _module_name(path): ast.parse(path.read_bytes(), str(path))
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _targets(node: ast.AST, module: str) -> Iterator[str]:
    """Full names of what an import statement could load: the module, and each name that may be a submodule."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module} uses a relative import, line {node.lineno}"
        assert node.module is not None
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imported_at_start(body: list[ast.stmt], module: str) -> Iterator[str]:
    """What importing the module loads at once: everything outside functions and `if TYPE_CHECKING`."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(statement):
            continue
        yield from _targets(statement, module)
        for field in ("body", "orelse", "finalbody"):
            yield from _imported_at_start(getattr(statement, field, []), module)
        for handler in getattr(statement, "handlers", []):
            yield from _imported_at_start(handler.body, module)


def _imported_anywhere(module: str) -> set[str]:
    return {name for node in ast.walk(MODULES[module]) for name in _targets(node, module)}


def _roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)


def _of(package: str) -> list[str]:
    return [module for module in MODULES if module.partition(".")[0] == package]


@pytest.mark.parametrize("module", _of("topology"))
def test_topology_imports_the_standard_library_and_msgspec_alone(module: str) -> None:
    allowed = {"topology", "msgspec"} | ({"opentelemetry"} if module in TRACED else set())
    allowed |= {"yaml"} if module == READS_YAML else set()
    assert _roots(_imported_anywhere(module)) <= allowed, f"{module} reaches beyond topology; give it a port instead"


@pytest.mark.parametrize("module", sorted(TRACED & set(MODULES)))
def test_topology_uses_the_opentelemetry_api_never_its_sdk(module: str) -> None:
    used = {name for name in _imported_anywhere(module) if name.startswith("opentelemetry.")}
    assert not {name for name in used if name.split(".")[1] in {"sdk", "exporter", "instrumentation"}}


@pytest.mark.parametrize("module", _of("serving"))
def test_serving_never_imports_workers_kafka_or_outside_its_application_ray(module: str) -> None:
    forbidden = {"workers", "kafka"} | (set() if module in ENGINE else {"ray"})
    assert not _roots(_imported_anywhere(module)) & forbidden


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_package_imports_no_tests_and_no_benchmarks(module: str) -> None:
    assert not _roots(_imported_anywhere(module)) & {"tests", "bench"}


def _loaded_with(start: str) -> dict[str, str]:
    """Every module of ours that importing `start` loads at once, with the one that asked for it."""
    found = {start: start}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        for name in _imported_at_start(MODULES[module].body, module):
            for loaded in _with_parents(name):
                if loaded in MODULES and loaded not in found:
                    found[loaded] = module
                    waiting.append(loaded)
    return found


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


@pytest.mark.parametrize("start", sorted(COMMANDS & set(MODULES)))
def test_nothing_heavy_stands_at_the_top_of_a_module_that_the_command_line_imports(start: str) -> None:
    for module in _loaded_with(start):
        heavy = _roots(set(_imported_at_start(MODULES[module].body, module))) & HEAVY
        assert not heavy, f"{module} imports {sorted(heavy)} at its top: move it into the function that needs it"


def test_the_command_line_loads_nothing_heavy_through_others_either() -> None:
    code = f"import sys, workers.cli; print(*({set(HEAVY)} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_packages_do_not_import_in_a_circle() -> None:
    """A circle of imports at start works by luck of order; each module's own imports must be complete before it."""
    direct = {
        module: {
            name for name in _imported_at_start(tree.body, module) if name in MODULES and name not in PACKAGES
        }
        for module, tree in MODULES.items()
    }  # fmt: skip
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(direct[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())
