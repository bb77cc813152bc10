"""A door under many requests at once: those that wait, those that ask again, and connections that never ask.

The figures are printed; what is asserted holds on a slow machine too.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

import openai
import pytest
from msgspec.structs import replace

from tests.plugins.door_process import door_process
from tests.plugins.kafka_broker import Kafka
from tests.plugins.open_door import API_KEY, door_settings
from tests.plugins.patience import LIMITS, PATIENCE_S
from tests.plugins.running_worker import fresh_settings, question, running_loop
from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.events import parts_text
from topology.contract.headers import last_headers
from topology.contract.names import DraftSource
from topology.ports import OnText
from workers.kafka.reader import TopicReader, read_topic
from workers.kafka.sender import EventSender

pytestmark = pytest.mark.kafka

WAITING: Final = 200
HALF_OPEN: Final = 1_000
HOPS: Final = 60
ROUND: Final = 50
ROUNDS: Final = 12
GROWTH_MAX_KIB: Final = 2_048
MEMORY_PER_WAITING_MAX_KIB: Final = 512


class Gate:
    """A model that answers at once, but to those who ask it to wait only when it is opened."""

    def __init__(self) -> None:
        self.is_open = False

    async def generate(self, request: GenerationRequest, _on_text: OnText | None = None) -> Draft:
        text = parts_text(request.messages[-1].parts)
        while text.startswith("Wait") and not self.is_open:  # noqa: ASYNC110 - opened on another thread
            await asyncio.sleep(0.05)
        return Draft(text=f"Answer to {text}", source=DraftSource.GENERATOR)


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


async def asked(client: openai.AsyncOpenAI, text: str, key: str) -> tuple[str, float]:
    """The answer, and the seconds that it took."""
    began_s = time.monotonic()
    messages: Any = [{"role": "user", "content": text}]
    found = await client.chat.completions.create(
        model="sluicegate", messages=messages, extra_headers={"Idempotency-Key": key}
    )
    return found.choices[0].message.content or "", time.monotonic() - began_s


def shown(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    print(
        f"{name}: {len(ordered)} requests, p50 {median(ordered) * 1000:.0f} ms, "
        f"p99 {ordered[int(len(ordered) * 0.99)] * 1000:.0f} ms"
    )


def run(port: int, scenario: Callable[[openai.AsyncOpenAI], Awaitable[None]]) -> None:
    async def whole() -> None:
        url = f"http://127.0.0.1:{port}/v1"
        async with openai.AsyncOpenAI(api_key=API_KEY, base_url=url, max_retries=0, timeout=PATIENCE_S) as client:
            await scenario(client)

    asyncio.run(whole())


def test_two_hundred_wait_while_others_ask_and_ask_again(kafka: Kafka, tmp_path: Path) -> None:
    limits = replace(LIMITS, in_flight_max=16, awaiting_answer_max=2 * WAITING)
    settings = replace(fresh_settings(kafka, limits=limits), door=door_settings(tmp_path))
    gate = Gate()
    with running_loop(settings, generator=gate), door_process(settings, tmp_path) as (process, port):

        async def scenario(client: openai.AsyncOpenAI) -> None:
            await asked(client, "the first", "first")
            before_kib = resident_kib(process.pid)
            waiting = [asyncio.create_task(asked(client, f"Wait {n}", f"w{n}")) for n in range(WAITING)]
            while len(read_topic(settings.kafka, settings.topics.events)) < WAITING + 1:  # noqa: ASYNC110 - a topic
                await asyncio.sleep(0.2)
            while_kib = resident_kib(process.pid)
            others = [await asked(client, f"Other {n}", f"o{n}") for n in range(20)]
            repeated = [asyncio.create_task(asked(client, f"Other {n % 20}", f"o{n % 20}")) for n in range(WAITING)]
            fresh = [await asked(client, f"Fresh {n}", f"f{n}") for n in range(5)]
            again = await asyncio.gather(*repeated)
            gate.is_open = True
            found = await asyncio.gather(*waiting)
            after_kib = resident_kib(process.pid)
            assert [text for text, _ in found] == [f"Answer to Wait {n}" for n in range(WAITING)]
            assert [text for text, _ in again] == [others[n % 20][0] for n in range(WAITING)]
            print(f"door's memory: {before_kib} KiB, with {WAITING} waiting {while_kib}, afterwards {after_kib}")
            shown("new ones beside those that wait", [seconds for _, seconds in others])
            shown(f"{WAITING} asked again at once", [seconds for _, seconds in again])
            shown("new ones beside those", [seconds for _, seconds in fresh])
            assert while_kib - before_kib < WAITING * MEMORY_PER_WAITING_MAX_KIB

        run(port, scenario)


def test_a_thousand_half_open_connections_delay_nobody(kafka: Kafka, tmp_path: Path) -> None:
    settings = replace(fresh_settings(kafka), door=door_settings(tmp_path))
    with running_loop(settings, generator=Gate()), door_process(settings, tmp_path) as (_, port), ExitStack() as stack:

        async def scenario(client: openai.AsyncOpenAI) -> None:
            alone = [await asked(client, f"Alone {n}", f"a{n}") for n in range(20)]
            half = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(HALF_OPEN)]
            for each in half[-400:]:
                each.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
            beside = [await asked(client, f"Beside {n}", f"b{n}") for n in range(20)]
            shown("alone", [seconds for _, seconds in alone])
            shown(f"beside {HALF_OPEN} half-open connections", [seconds for _, seconds in beside])
            assert median(seconds for _, seconds in beside) < median(seconds for _, seconds in alone) + 1

        run(port, scenario)


def test_a_door_adds_little_to_the_hop_over_the_topics(kafka: Kafka, tmp_path: Path) -> None:
    """Taken in turns, so that what else the machine does weighs on both."""
    settings = replace(fresh_settings(kafka), door=door_settings(tmp_path))
    with ExitStack() as stack:
        stack.enter_context(running_loop(settings, generator=Gate()))
        _, port = stack.enter_context(door_process(settings, tmp_path))
        sender = EventSender(replace(settings.kafka, linger_ms=0), settings.topics.events)
        stack.callback(sender.close)
        reader = stack.enter_context(TopicReader(settings.kafka, [settings.topics.audited], from_beginning=False))

        def bare(number: int) -> float:
            began_s, event_id = time.monotonic(), f"e{number}"
            sender.send_event(question(number, f"c{number}"))
            while not any(event_id.encode() in last_headers(each.headers).values() for each in reader.poll(0.5)):
                assert time.monotonic() - began_s < PATIENCE_S
            return time.monotonic() - began_s

        async def scenario(client: openai.AsyncOpenAI) -> None:
            hops, over = list[float](), list[float]()
            for number in range(HOPS):
                hops.append(await asyncio.to_thread(bare, number))
                over.append((await asked(client, f"Question {number}", f"q{number}"))[1])
            shown("bare hop", hops)
            shown("over the door", over)
            print(f"added: p50 {(median(over) - median(hops)) * 1000:.1f} ms")
            assert median(over) < median(hops) + 1

        run(port, scenario)


def test_nothing_in_a_doors_memory_grows_with_time(kafka: Kafka, tmp_path: Path) -> None:
    settings = replace(fresh_settings(kafka), door=door_settings(tmp_path))
    with running_loop(settings, generator=Gate()), door_process(settings, tmp_path, index_max=50) as (process, port):

        async def scenario(client: openai.AsyncOpenAI) -> None:
            sizes: list[int] = []
            for turn in range(ROUNDS):
                await asyncio.gather(*[asked(client, f"Question {turn} {n}", f"{turn}-{n}") for n in range(ROUND)])
                sizes.append(resident_kib(process.pid))
            print(f"door's memory after each {ROUND} requests, KiB: {sizes}")
            assert sizes[-1] - sizes[ROUNDS // 2] < GROWTH_MAX_KIB

        run(port, scenario)
