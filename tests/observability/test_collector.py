"""A real Collector with the tail sampling that operators are given: what is flagged is kept, what is quiet is thinned.

The long form builds the Collector with Go into `var/tools/collector`, once: some ten minutes on two cores.
"""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from serving.fakes import FakeCheck, FakeGenerator, FakeLabeler
from tests.checkout import ROOT
from tests.plugins.patience import wait_until
from tests.plugins.running_worker import logged, question
from topology.contract.codec import encode
from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome
from topology.contract.records import Record
from topology.pipeline import Pipeline
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.telemetry.instruments import Instruments
from workers.assembly import build_pipeline
from workers.commands.demo.parts import free_port
from workers.process.clock import SystemClock
from workers.settings import Settings, TelemetrySettings
from workers.telemetry.setup import Telemetry, start_telemetry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CONFIG = ROOT / "docs" / "monitoring" / "collector.yaml"
BUILD = Path(__file__).parent / "collector_build.yaml"
TOOL = ROOT / "var" / "tools" / "collector"
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.145.0"
BUILD_S = 3000
START_S = 60.0
DECIDED_S = 60.0
DECISION_WAIT_S = 3
SLOW_MS = 1500
SHARE_PERCENT = 5
QUIET = 800
WITHHELD, BROKEN = 12, 5
SPANS = 8
"""Of one event with one attempt."""

TO_FILE = """
exporters: {{file: {{path: {path}, flush_interval: 200ms}}}}
service: {{pipelines: {{traces: {{exporters: [file]}}}}}}
"""


@pytest.fixture(scope="session")
def collector_program() -> Path:
    """The Collector, built where it is not there yet."""
    program, stamp = TOOL / "otelcol-test", TOOL / "build.yaml"
    if stamp.exists() and stamp.read_text() == BUILD.read_text() and program.exists():
        return program
    if shutil.which("go") is None:
        pytest.skip("the Collector is built with Go, which is not there")
    TOOL.mkdir(parents=True, exist_ok=True)
    command = ["go", "run", BUILDER, "--config", BUILD]
    subprocess.run(command, cwd=TOOL, check=True, timeout=BUILD_S, capture_output=True)
    shutil.copy(TOOL / "out" / "otelcol-test", program)
    shutil.copy(BUILD, stamp)
    return program


@contextmanager
def collecting(program: Path, directory: Path) -> Generator[tuple[str, Path]]:
    """The Collector's OTLP endpoint and the file that it writes what it keeps to, while the block runs."""
    kept, overlay, log, port = (
        directory / "kept.jsonl",
        directory / "file.yaml",
        directory / "collector.log",
        free_port(),
    )
    overlay.write_text(TO_FILE.format(path=kept))
    variables = {
        "COLLECTOR_GRPC_PORT": str(free_port()),
        "COLLECTOR_HTTP_PORT": str(port),
        "DECISION_WAIT": f"{DECISION_WAIT_S}s",
        "SLOW_MS": str(SLOW_MS),
        "SHARE_PERCENT": str(SHARE_PERCENT),
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, "--config", CONFIG, "--config", overlay],
            env={**os.environ, **variables},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "Everything is ready" in log.read_text() or process.poll() is not None, START_S)
        assert process.poll() is None, log.read_text()[-3000:]
        yield f"http://127.0.0.1:{port}", kept
    finally:
        process.terminate()
        process.wait(30)


def kept_traces(kept: Path) -> dict[str, list[dict[str, Any]]]:
    """The spans that were kept, by trace."""
    traces: dict[str, list[dict[str, Any]]] = {}
    whole, _, _ = kept.read_text().rpartition("\n") if kept.exists() else ("", "", "")  # what follows is being written
    for line in whole.splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    traces.setdefault(span["traceId"], []).append(span)
    return traces


def pipeline_of(telemetry: Telemetry, settings: Settings, *, delay_s: float = 0.0, fails: bool = False) -> Pipeline:
    """A pipeline with parts that answer at once, or late, or with a guard that cannot tell."""
    faults = [CheckFailed(Outcome.CRASHED, "bias", "by test")] * WITHHELD if fails else []
    policies = Policies(packaged_bundle())
    return build_pipeline(
        settings,
        lambda: policies,
        FakeLabeler(),
        FakeGenerator(lambda _: "A plain answer.", delay_s=delay_s, clock=SystemClock()),
        [FakeCheck("classification"), FakeCheck("bias", faults=faults), FakeCheck("logging", logged)],
        telemetry.tracing(settings),
        Instruments.none(),
    )


def record(number: int, *, is_broken: bool = False) -> Record:
    event = question(number, f"c{number}")
    headers = (("content-type", b"application/json"), ("x-schema", b"conversation-event/1"))
    value = b'{"event_id": ' if is_broken else encode(event)
    key, now_ms = event.conversation_id.encode(), SystemClock().now_ms()
    return Record(
        topic="events", partition=0, offset=number, timestamp_ms=now_ms, key=key, value=value, headers=headers
    )


def process(pipeline: Pipeline, records: list[Record]) -> set[str]:
    """Process them one by one; gives the trace ids."""

    async def all_of_them() -> set[str]:
        ids: set[str] = set()
        for each in records:
            result = await pipeline.process(each)
            ids |= {value.decode()[3:35] for name, value in result.records[0].headers if name == "traceparent"}
        return ids

    return asyncio.run(all_of_them())


def attribute_of(span: dict[str, Any], name: str) -> object:
    """One attribute's value; None where the span has none of that name."""
    found = (pair["value"] for pair in span.get("attributes", ()) if pair["key"] == name)
    return next((next(iter(value.values())) for value in found), None)


def test_flagged_failed_and_slow_events_are_kept_whole_and_quiet_ones_thinned(
    collector_program: Path, tmp_path: Path
) -> None:
    with collecting(collector_program, tmp_path) as (endpoint, kept):
        settings = Settings(telemetry=TelemetrySettings(endpoint=endpoint, preset="full", push_metrics=False))
        settings = structs.replace(settings, telemetry=structs.replace(settings.telemetry, queue_max=20_000))
        telemetry = start_telemetry(settings.telemetry, "ingress")
        quiet = process(pipeline_of(telemetry, settings), [record(number) for number in range(QUIET)])
        withheld = process(
            pipeline_of(telemetry, settings, fails=True), [record(QUIET + number) for number in range(WITHHELD)]
        )
        slow = process(pipeline_of(telemetry, settings, delay_s=SLOW_MS / 1000 * 1.2), [record(5000)])
        process(pipeline_of(telemetry, settings), [record(number, is_broken=True) for number in range(BROKEN)])
        telemetry.flush()
        began_s = time.monotonic()
        wait_until(lambda: withheld | slow <= kept_traces(kept).keys(), DECIDED_S)
        wait_until(lambda: time.monotonic() - began_s > 2 * DECISION_WAIT_S, DECIDED_S)
        telemetry.shutdown(10)
        traces = kept_traces(kept)
    assert (len(quiet), len(withheld), len(slow)) == (QUIET, WITHHELD, 1)
    assert {len(traces[trace]) for trace in withheld | slow} == {SPANS}
    letters = [
        span for spans in traces.values() for span in spans if attribute_of(span, "sluicegate.dead_letter.reason")
    ]
    assert len(letters) == BROKEN
    sampled = quiet & traces.keys()
    print(f"kept {len(sampled)} of {QUIET} quiet traces, all {WITHHELD} withheld, {BROKEN} letters, 1 slow")
    assert 0 < len(sampled) < QUIET * SHARE_PERCENT / 100 * 3
    assert {len(traces[trace]) for trace in sampled} == {SPANS}
