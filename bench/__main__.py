"""Measurements against bare clients and of the promised properties; writes docs/bench.md and var/bench.json.

python -m bench                  all of it, about twenty-five minutes; wants a quiet machine
python -m bench --quick          all but b and d in their shortest form; writes no page and no pictures
python -m bench --only a,c       some of it; the page keeps the figures of the others
python -m bench --only k --before DIR   the same scenarios by an earlier checkout, too
"""

import argparse
import logging
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import (
    first_event,
    hand_written,
    kafka_ratio,
    memory,
    overload,
    page,
    single_event,
    stages,
    stuck_key,
    tenants,
    token_ratio,
    two_workers,
    visibility,
)
from bench.kafka_arm import peak_mib
from bench.report import Figure, Report, machine, table, versions
from workers.development.broker import DevelopmentBroker

PARTS = ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m")
RETENTION = {"log.segment.bytes": "67108864", "log.retention.bytes": "268435456"}
"""Nobody reads what the runs write, so old segments are deleted."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    started_s = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started_s:5.0f} s] {text}", file=sys.stderr, flush=True)

    known = machine()
    with tempfile.TemporaryDirectory(prefix="sluicegate-bench-") as directory:
        figures = _measure(options.only, Path(directory), options.before, is_quick=options.quick, say=say)
    report = Report(
        command=shlex.join(["python", "-m", "bench", *(sys.argv[1:] if arguments is None else arguments)]),
        date=datetime.now(UTC).date().isoformat(),
        machine={**known, "load after": f"{os.getloadavg()[0]:.2f}"},
        versions=versions(),
        figures=tuple(sorted(figures, key=lambda figure: figure.part)),
    )
    print(table(report.figures))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    if not options.quick:
        page.write(report, options.only)
    return 0


def _measure(
    parts: Sequence[str], directory: Path, before: Path | None, *, is_quick: bool, say: kafka_ratio.Say
) -> list[Figure]:
    figures: list[Figure] = []
    if "c" in parts:
        figures += stages.measure(is_quick=is_quick, say=say)
    if "h" in parts:
        figures += first_event.measure(first_event.QUICK if is_quick else first_event.Size(), say)
    if "i" in parts:
        figures += hand_written.measure(is_quick=is_quick, say=say)
    figures += _measure_against_kafka(parts, directory, is_quick=is_quick, say=say)
    if not {"e", "f", "g", "j", "k", "l", "m"}.isdisjoint(parts):
        broker = DevelopmentBroker(directory / "kafka-engine", properties=RETENTION, say=say)
        say("the broker starts")
        broker.start()
        try:
            figures += measure_engine(broker.bootstrap, parts, is_quick=is_quick, say=say)
            if "k" in parts:
                size, images = (overload.QUICK, None) if is_quick else (overload.Size(), page.IMAGES)
                figures += overload.measure(broker.bootstrap, size, say, before, images)
            if "l" in parts:
                figures += tenants.measure(broker.bootstrap, tenants.QUICK if is_quick else tenants.Size(), say)
        finally:
            broker.stop()
    return figures


def measure_engine(bootstrap: str, parts: Sequence[str], *, is_quick: bool, say: kafka_ratio.Say) -> list[Figure]:
    """Measure parts e to g, j and m; pictures are drawn except in the quick form."""
    images = None if is_quick else page.IMAGES
    figures: list[Figure] = []
    if "j" in parts:
        figures += single_event.measure(bootstrap, single_event.QUICK if is_quick else single_event.Size(), say)
    if "m" in parts:
        figures += two_workers.measure(bootstrap, two_workers.QUICK if is_quick else two_workers.Size(), say)
    if "g" in parts:
        figures += visibility.measure(bootstrap, visibility.QUICK if is_quick else visibility.Size(), say)
    if "e" in parts:
        figures += stuck_key.measure(bootstrap, stuck_key.QUICK if is_quick else stuck_key.Size(), say, images)
    if "f" in parts:
        figures += memory.measure(bootstrap, memory.QUICK if is_quick else memory.Size(), say, images)
    return figures


def _measure_against_kafka(
    parts: Sequence[str], directory: Path, *, is_quick: bool, say: kafka_ratio.Say
) -> list[Figure]:
    figures: list[Figure] = []
    is_kafka_needed = "a" in parts or (not is_quick and not {"b", "d"}.isdisjoint(parts))
    if not is_kafka_needed:
        return figures
    broker = DevelopmentBroker(directory / "kafka", properties=RETENTION, say=say)
    say("the broker starts")
    broker.start()
    try:
        if "a" in parts:
            figures += kafka_ratio.measure(broker.bootstrap, kafka_ratio.QUICK if is_quick else kafka_ratio.Size(), say)
            figures.append(_broker_memory(broker, "after part a"))
    finally:
        broker.stop()
    if is_quick or {"b", "d"}.isdisjoint(parts):
        return figures
    broker = DevelopmentBroker(directory / "kafka-tokens", properties=RETENTION, say=say)
    broker.start()
    try:
        size = token_ratio.Size() if "b" in parts else token_ratio.Size(repetitions=1)
        figures += token_ratio.measure(broker.bootstrap, directory, size, say)
        figures.append(_broker_memory(broker, "after part b"))
    finally:
        broker.stop()
    return figures


def _broker_memory(broker: DevelopmentBroker, of: str) -> Figure:
    assert broker.pid is not None
    return Figure(part="d", name="peak memory: broker", value=peak_mib(broker.pid), unit="MiB", of=f"VmHWM, {of}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures against bare clients.")
    parser.add_argument("--quick", action="store_true", help="all parts but b and d, in their shortest form")
    parser.add_argument("--only", type=_parts, default=PARTS, help="parts, such as a,c (default: all)")
    parser.add_argument("--before", type=Path, help="an earlier checkout, which part k runs as well")
    parser.add_argument("--json", type=Path, default=Path("var/bench.json"), help="default: %(default)s")
    return parser.parse_args(arguments)


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if not set(parts) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"parts are {', '.join(PARTS)}")
    return parts


if __name__ == "__main__":
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    sys.exit(main())
