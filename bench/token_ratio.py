"""Part b: tokens per second of a real vLLM through the whole path, against a bare streaming client.

In both arms vLLM has one core to itself and everything else shares the other one. Otherwise, on one machine, the
client would take CPU time from the engine. Part d, the peak memory of each process, is measured in the same run.
"""

import os
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.kafka_arm import peak_mib
from bench.kafka_ratio import run_module
from bench.report import Figure, median_figure
from bench.token_arm import Figures, Task
from bench.world import token_event
from serving.engine.child_server import VllmServer, VllmServing, start_vllm
from serving.engine.options import TINY_ARGUMENTS
from serving.engine.tiny_checkpoint import build_tiny_checkpoint
from topology.contract.events import AuditedResponse
from topology.contract.names import Topic
from workers.kafka.reader import TopicReader
from workers.kafka.sender import EventSender
from workers.kafka.topics import create_topics
from workers.settings import KafkaSettings, TopicSettings

MODEL = "sluicegate-tiny"
READY_TIMEOUT_S = 300.0
READ_TIMEOUT_S = 30.0


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement. `events_in_flight` is the worker's default."""

    events: int = 256
    in_flight: int = 32
    events_in_flight: int = 64
    output_tokens: int = 256
    repetitions: int = 5


def measure(bootstrap: str, directory: Path, size: Size, say: Callable[[str], None]) -> list[Figure]:
    """Measure the ratio of token rates, and the peak memory of worker and engine."""
    kafka = KafkaSettings(bootstrap_servers=(bootstrap,))
    create_topics(kafka, TopicSettings())
    sender = EventSender(kafka, Topic.EVENTS.value)
    for index in range(size.events):
        sender.send_event(token_event(index, size.output_tokens))
    sender.flush()
    sender.close()
    with _one_core_each(directory, say) as server:
        runs: list[tuple[Figures, ...]] = []
        _run("bare", bootstrap, server, size, 0)  # the engine's first requests are slower
        for repetition in range(size.repetitions):
            bare = _run("bare", bootstrap, server, size, 0)
            ours = _run("ours", bootstrap, server, size, size.events_in_flight)
            tight = _run("ours", bootstrap, server, size, size.in_flight)
            runs.append((bare, ours, tight))
            taken = f"bare {bare.wall_s:.2f} s, ours {ours.wall_s:.2f} s, tight {tight.wall_s:.2f} s"
            say(f"b: {repetition + 1}/{size.repetitions} {taken}")
        engine_mib = [peak_mib(process) for process in processes_of_group(server.pid)]
    _check_answers(kafka, size)
    return _figures(runs, engine_mib, size)


@contextmanager
def _one_core_each(directory: Path, say: Callable[[str], None]) -> Generator[VllmServer]:
    """Run a vLLM server on the first core, and this process with its children on another one, during the block."""
    cores = sorted(os.sched_getaffinity(0))
    checkpoint = build_tiny_checkpoint(directory / "tiny")
    serving = VllmServing(model=str(checkpoint), served_name=MODEL, arguments=TINY_ARGUMENTS)
    os.sched_setaffinity(0, cores[:1])
    try:
        server = start_vllm(serving, log=directory / "vllm.log")
    finally:
        os.sched_setaffinity(0, cores[1:2] or cores)
    try:
        said_s = 0.0

        def progress(state: str, waited_s: float) -> None:
            nonlocal said_s
            if waited_s - said_s >= 10:
                said_s = waited_s
                say(f"b: vLLM {state.lower()}, {waited_s:.0f} s")

        server.wait_healthy(READY_TIMEOUT_S, progress=progress)
        yield server
    finally:
        server.stop()
        os.sched_setaffinity(0, cores)


def processes_of_group(leader: int) -> list[int]:
    """Return the processes of the group that `leader` leads."""
    found: list[int] = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(directory.name)) == leader:
                found.append(int(directory.name))
        except ProcessLookupError:
            continue
    return found


def _run(arm: str, bootstrap: str, server: VllmServer, size: Size, events_in_flight: int) -> Figures:
    task = Task(
        arm="bare" if arm == "bare" else "ours",
        bootstrap=bootstrap,
        base_url=server.base_url,
        model=MODEL,
        group=f"bench-{uuid.uuid4().hex}",
        events=size.events,
        in_flight=size.in_flight,
        events_in_flight=events_in_flight,
        output_tokens=size.output_tokens,
    )
    figures = msgspec.json.decode(run_module("bench.token_arm", task, timeout_s=400), type=Figures)
    expected = size.events * size.output_tokens
    assert arm == "ours" or figures.output_tokens == expected, "the bare client got another number of tokens"
    return figures


def _check_answers(kafka: KafkaSettings, size: Size) -> None:
    """Check that every answer of every worker's run is on the output topic with all its tokens."""
    reader = TopicReader(kafka, [Topic.AUDITED.value], from_beginning=True)
    answers = [
        msgspec.json.decode(record.value or b"", type=AuditedResponse) for record in reader.read_to_end(READ_TIMEOUT_S)
    ]
    reader.close()
    ours = [answer for answer in answers if answer.event_id.startswith("tokens-")]
    spent = sum(answer.usage.output_tokens for answer in ours)
    expected = 2 * size.repetitions * size.events
    assert len(ours) == expected, f"{len(ours)} answers, {expected} expected"
    assert spent == expected * size.output_tokens, f"{spent} tokens, {expected * size.output_tokens} expected"


def _figures(runs: list[tuple[Figures, ...]], engine_mib: list[float], size: Size) -> list[Figure]:
    tokens = size.events * size.output_tokens
    bare, ours, tight = zip(*runs, strict=True)
    workload = f"{size.events} events of {size.output_tokens} tokens, {size.in_flight} requests in flight"

    def ratio(arm: tuple[Figures, ...], target: str, of: str) -> Figure:
        values = [one.wall_s / other.wall_s for one, other in zip(bare, arm, strict=True)]
        return median_figure("b", "tokens/s, ratio", values, "", of=of, target=target)

    return [
        ratio(ours, "≥ 0.9, goal 0.97", f"whole path against bare aiohttp; {size.events_in_flight} events begun"),
        ratio(tight, "", f"the same with no more events begun than requests in flight ({size.in_flight})"),
        median_figure("b", "tokens/s, bare", [tokens / each.wall_s for each in bare], "tokens/s", of=workload),
        median_figure("b", "tokens/s, ours", [tokens / each.wall_s for each in ours], "tokens/s", of=workload),
        median_figure("b", "client CPU, bare", [each.cpu_s / size.events * 1e3 for each in bare], "ms/event"),
        median_figure("b", "client CPU, ours", [each.cpu_s / size.events * 1e3 for each in ours], "ms/event"),
        median_figure("d", "peak memory: worker, stages inline", [each.peak_mib for each in ours], "MiB", of="VmHWM"),
        Figure(
            part="d",
            name="peak memory: vLLM",
            value=sum(engine_mib),
            unit="MiB",
            of=f"sum of VmHWM over {len(engine_mib)} processes",
        ),
    ]
