"""One arm of the token rate comparison, in a process of its own: prints its figures as one line of JSON.

One arm is a worker as it is deployed, stages inline, reading from Kafka and writing to it. The other is an
asynchronous client that sends the prompts that the worker would compile, as many at once, and reads the streams.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from bench.kafka_arm import peak_mib
from bench.world import CHECKS, StubCheck, StubGenerator, token_event
from serving.endpoint.completion import CompletionStream, encode_body
from serving.generation.generator import GenerationDefaults, generation_body
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.guards.per_policy import PolicyLabeler
from topology.contract.codec import encode
from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.events import Message
from topology.contract.names import Topic
from topology.contract.records import Record
from topology.ports import OnText
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.assembly import build_pipeline, build_worker
from workers.policy.files import load_policies
from workers.settings import Settings

WATCH_S = 0.002
RUN_S_MAX = 300.0


class Task(Struct, frozen=True, kw_only=True):
    """What to run. `base_url` ends before `/chat/completions`; `group` is new for each run.

    `in_flight` counts requests at the model, `events_in_flight` events that the worker has begun and not finished.
    """

    arm: Literal["bare", "ours"]
    bootstrap: str
    base_url: str
    model: str
    group: str
    events: int
    in_flight: int
    events_in_flight: int
    output_tokens: int


class Figures(Struct, frozen=True, kw_only=True):
    """The cost of one run, from its first event to the last answer. `cpu_s` is that of the client's process."""

    arm: Literal["bare", "ours"]
    wall_s: float
    cpu_s: float
    peak_mib: float
    output_tokens: int = 0


def settings_of(task: Task) -> Settings:
    """Return a worker's settings without further drafts, so that each event is one request."""
    default = Settings()
    return structs.replace(
        default,
        kafka=structs.replace(default.kafka, bootstrap_servers=(task.bootstrap,), group_id=task.group),
        limits=structs.replace(default.limits, in_flight_max=task.events_in_flight),
        generation=structs.replace(
            default.generation,
            base_url=task.base_url,
            model=task.model,
            max_tokens=task.output_tokens,
            concurrency_max=task.in_flight,
        ),
        policy=structs.replace(default.policy, revisions_max=0),
        telemetry=structs.replace(default.telemetry, log_level="ERROR"),
    )


def run_ours(task: Task) -> Figures:
    """Run a whole worker on slot 0, watched from a thread of its own until everything is committed."""
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a worker's logs go to standard output
    worker = build_worker(settings_of(task), 0, {})
    found: list[Figures] = []

    def watch() -> None:
        deadline_s = time.monotonic() + RUN_S_MAX
        while not worker.health().held_count and time.monotonic() < deadline_s:
            time.sleep(WATCH_S)
        started_s, cpu_s = time.perf_counter(), time.process_time()
        while worker.health().committed_count < task.events and time.monotonic() < deadline_s:
            time.sleep(WATCH_S)
        found.append(
            Figures(
                arm="ours",
                wall_s=time.perf_counter() - started_s,
                cpu_s=time.process_time() - cpu_s,
                peak_mib=peak_mib("self"),
            )
        )
        worker.drain(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert worker.run() >= task.events, "not everything was committed in time"
    watcher.join()
    os.dup2(output, sys.stdout.fileno())
    return found[0]


class _Prompts:
    """A generator that keeps the requests that it got."""

    def __init__(self) -> None:
        self.messages: list[tuple[Message, ...]] = []

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        self.messages.append(request.messages)
        return StubGenerator.DRAFT


async def compiled_bodies(task: Task) -> list[bytes]:
    """Return the requests that a worker would send, made by the pipeline itself."""
    settings = settings_of(task)
    policies = load_policies(settings)
    prompts = _Prompts()
    embedded = EmbeddedLabeler(LinearModel.load(), policies.bundle.categories)
    labeler = PolicyLabeler(lambda _: embedded)
    checks = [StubCheck(name) for name in CHECKS]
    pipeline = build_pipeline(settings, lambda: policies, labeler, prompts, checks, Tracing.none(), Instruments.none())
    defaults = GenerationDefaults(model=task.model, max_tokens=task.output_tokens)
    bodies: list[bytes] = []
    for index in range(task.events):
        event = token_event(index, task.output_tokens)
        await pipeline.process(
            Record(
                topic=Topic.EVENTS.value,
                partition=0,
                offset=index,
                timestamp_ms=1,
                key=event.conversation_id.encode(),
                value=encode(event),
            )
        )
        bodies.append(encode_body(generation_body(prompts.messages[-1], event.generation, defaults)))
    assert len(prompts.messages) == task.events, "an event needed more than one request"
    return bodies


async def run_bare(task: Task) -> Figures:
    """Run an aiohttp client with `in_flight` requests at once."""
    import aiohttp

    waiting = list(reversed(await compiled_bodies(task)))
    tokens = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal tokens
        while waiting:
            stream = CompletionStream()
            async with session.post(f"{task.base_url}/chat/completions", data=waiting.pop()) as response:
                assert response.status == 200, response.status
                async for piece in response.content.iter_any():
                    stream.feed(piece)
            tokens += stream.completion(0.0).output_tokens

    connector: Any = aiohttp.TCPConnector(limit=task.in_flight)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        started_s, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*[work(session) for _ in range(task.in_flight)])
        return Figures(
            arm="bare",
            wall_s=time.perf_counter() - started_s,
            cpu_s=time.process_time() - cpu_s,
            peak_mib=peak_mib("self"),
            output_tokens=tokens,
        )


def main(arguments: Sequence[str]) -> int:
    task = msgspec.json.decode(arguments[0], type=Task)
    figures = asyncio.run(run_bare(task)) if task.arm == "bare" else run_ours(task)
    print(msgspec.json.encode(figures).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
