"""Part b: tokens per second of a real vLLM through the whole path, against a bare streaming client.

vLLM has one core to itself and everything else shares the other one, in both arms: on one machine the client would
otherwise take from the engine what it saves. Part d, what each process held at most, comes with it.
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
from serving.server import VllmServer, VllmServing, start_vllm
from serving.tiny import build_tiny_checkpoint
from serving.vllm_options import TINY_ARGUMENTS
from topology.events import AuditedResponse
from topology.names import Topic
from workers.reader import TopicReader
from workers.sender import EventSender
from workers.settings import KafkaSettings, TopicSettings
from workers.topics import create_topics

MODEL = "sluicegate-tiny"
READY_TIMEOUT_S = 300.0
READ_TIMEOUT_S = 30.0


class Size(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    events: int = 160
    in_flight: int = 32
    output_tokens: int = 256
    repetitions: int = 5


def measure(bootstrap: str, directory: Path, size: Size, say: Callable[[str], None]) -> list[Figure]:
    """The ratio of token rates, and the peak memory of worker and engine."""
    kafka = KafkaSettings(bootstrap_servers=(bootstrap,))
    create_topics(kafka, TopicSettings())
    sender = EventSender(kafka, Topic.EVENTS.value)
    for index in range(size.events):
        sender.send_event(token_event(index, size.output_tokens))
    sender.flush()
    sender.close()
    with _one_core_each(directory, say) as server:
        runs: list[tuple[Figures, Figures]] = []
        _run("bare", bootstrap, server, size)  # the engine's first requests are slower
        for repetition in range(size.repetitions):
            bare = _run("bare", bootstrap, server, size)
            ours = _run("ours", bootstrap, server, size)
            runs.append((bare, ours))
            say(f"b: {repetition + 1}/{size.repetitions} bare {bare.wall_s:.2f} s, ours {ours.wall_s:.2f} s")
        engine_mib = [peak_mib(process) for process in processes_of_group(server.pid)]
    _check_answers(kafka, size)
    return _figures(runs, engine_mib, size)


@contextmanager
def _one_core_each(directory: Path, say: Callable[[str], None]) -> Generator[VllmServer]:
    """A vLLM server on the first core, this process and what it starts on another one, for as long as the block."""
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
    """The processes whose group `leader` leads."""
    found: list[int] = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(directory.name)) == leader:
                found.append(int(directory.name))
        except ProcessLookupError:
            continue
    return found


def _run(arm: str, bootstrap: str, server: VllmServer, size: Size) -> Figures:
    task = Task(
        arm="bare" if arm == "bare" else "ours",
        bootstrap=bootstrap,
        base_url=server.base_url,
        model=MODEL,
        group=f"bench-{uuid.uuid4().hex}",
        events=size.events,
        in_flight=size.in_flight,
        output_tokens=size.output_tokens,
    )
    figures = msgspec.json.decode(run_module("bench.token_arm", task, timeout_s=400), type=Figures)
    expected = size.events * size.output_tokens
    assert arm == "ours" or figures.output_tokens == expected, "the bare client got another number of tokens"
    return figures


def _check_answers(kafka: KafkaSettings, size: Size) -> None:
    """Every answer of every run of ours is on the output topic with all its tokens."""
    reader = TopicReader(kafka, [Topic.AUDITED.value], from_beginning=True)
    answers = [
        msgspec.json.decode(record.value or b"", type=AuditedResponse) for record in reader.read_to_end(READ_TIMEOUT_S)
    ]
    reader.close()
    ours = [answer for answer in answers if answer.event_id.startswith("tokens-")]
    spent = sum(answer.usage.output_tokens for answer in ours)
    expected = size.repetitions * size.events
    assert len(ours) == expected, f"{len(ours)} answers, {expected} expected"
    assert spent == expected * size.output_tokens, f"{spent} tokens, {expected * size.output_tokens} expected"


def _figures(runs: list[tuple[Figures, Figures]], engine_mib: list[float], size: Size) -> list[Figure]:
    tokens = size.events * size.output_tokens
    of = f"{size.events} events of {size.output_tokens} tokens, {size.in_flight} in flight, one core for vLLM, one else"
    return [
        median_figure(
            "b",
            "tokens/s, ratio",
            [bare.wall_s / ours.wall_s for bare, ours in runs],
            "",
            of="whole path against bare aiohttp",
            target="≥ 0.9, goal 0.97",
        ),
        median_figure("b", "tokens/s, bare", [tokens / bare.wall_s for bare, _ in runs], "tokens/s", of=of),
        median_figure("b", "tokens/s, ours", [tokens / ours.wall_s for _, ours in runs], "tokens/s", of=of),
        median_figure("b", "client CPU, bare", [bare.cpu_s / size.events * 1e3 for bare, _ in runs], "ms/event"),
        median_figure("b", "client CPU, ours", [ours.cpu_s / size.events * 1e3 for _, ours in runs], "ms/event"),
        median_figure(
            "d", "peak memory: worker, stages inline", [ours.peak_mib for _, ours in runs], "MiB", of="VmHWM"
        ),
        Figure(
            part="d",
            name="peak memory: vLLM",
            value=sum(engine_mib),
            unit="MiB",
            of=f"sum of VmHWM over {len(engine_mib)} processes",
        ),
    ]
