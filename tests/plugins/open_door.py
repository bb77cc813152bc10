"""A door that listens, for the official client: over topics in memory, or over whatever a test connects it to."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import openai

from tests.plugins.patience import PATIENCE_S
from topology.contract.events import Action, AuditedResponse, ConversationEvent, Position, TextPart, Usage
from topology.contract.headers import last_header
from topology.contract.labels import Mode
from topology.contract.names import Header
from topology.contract.records import Headers
from topology.contract.streams import StreamRecord
from topology.steps.audit import audit_id
from workers.door.asking import LogAway
from workers.door.flights import Placed
from workers.door.reasons import Answered
from workers.door.running import OpenLink, RunningDoor
from workers.settings import DoorSettings, Secret, Settings, TelemetrySettings
from workers.telemetry.setup import start_telemetry

API_KEY = "sk-door"
TRUSTED_KEY = "sk-trusted"
LIMITED_KEY = "sk-limited"
START_S = 120.0

KEYS = f"""
[keys.plain]
sha256 = ["{hashlib.sha256(API_KEY.encode()).hexdigest()}"]
tenant = "tenant-a"
age_band = "adult"
locale = "de"
region = "DE"
requests_per_minute = 100000
concurrent_max = 500

[keys.trusted]
sha256 = ["{hashlib.sha256(TRUSTED_KEY.encode()).hexdigest()}"]
tenant = "tenant-b"
is_trusted = true
requests_per_minute = 100000

[keys.limited]
sha256 = ["{hashlib.sha256(LIMITED_KEY.encode()).hexdigest()}"]
tenant = "tenant-c"
requests_per_minute = 2
body_bytes_max = 2048
"""

Answer = Callable[[ConversationEvent, str], AuditedResponse | None]
"""What a worker makes of an event, given its audit id; None: nothing, yet."""


def answered(event: ConversationEvent, own_id: str, **changes: Any) -> AuditedResponse:
    """A published answer."""
    fields: dict[str, Any] = {
        "event_id": event.event_id,
        "conversation_id": event.conversation_id,
        "tenant_id": event.tenant_id,
        "action": Action.PUBLISHED,
        "mode": Mode.DIRECT_ANSWER,
        "parts": (TextPart(text="A plain answer."),),
        "reason_codes": ("V99",),
        "policy_ref": "core@1.0.0#abc",
        "audit_id": own_id,
        "usage": Usage(input_tokens=3, output_tokens=4),
        **changes,
    }
    return AuditedResponse(**fields)


class MemoryLink:
    """Topics in memory: every event is answered at once as `answer` says. It can be away, and lose acknowledgements."""

    def __init__(self, answer: Answer = answered) -> None:
        self.answer = answer
        self.events: list[ConversationEvent] = []
        self.headers: list[Headers] = []
        self.is_away = False
        self.loses_acknowledgements = False
        self.is_ready = True
        self.placed: list[Placed] = []
        self.cancelled: list[tuple[int, str]] = []
        self.stream: Callable[[list[StreamRecord]], None] = lambda _: None
        self._deliver: Callable[[list[Placed]], None] = lambda _: None

    def send(self, key: bytes, value: bytes, headers: Headers, acknowledged: Callable[[Position | None], None]) -> None:
        if self.is_away:
            raise LogAway
        event = msgspec.json.decode(value, type=ConversationEvent)
        assert key == event.conversation_id.encode()
        position = Position(topic="events", partition=0, offset=len(self.events), timestamp_ms=0)
        self.events.append(event)
        self.headers.append(headers)
        acknowledged(None if self.loses_acknowledgements else position)
        response = self.answer(event, audit_id(position, event.event_id))
        if response is not None:
            self.publish(response, last_header(headers, Header.REQUEST_DIGEST) or "")

    def publish(self, response: AuditedResponse, digest: str) -> None:
        """Append a response to the audited topic."""
        read = msgspec.convert(msgspec.to_builtins(response), Answered)
        self.placed.append(Placed(read, digest, 0, len(self.placed), 2_000_000_000_000))
        self._deliver(self.placed[-1:])

    def cancel(self, position: Position, event_id: str, sent: Callable[[bool], None]) -> None:
        self.cancelled.append((position.offset, event_id))
        sent(not self.is_away)

    def fetch(self, partition: int, offset: int) -> Placed | None:
        if self.is_away:
            raise LogAway
        return self.placed[offset] if partition == 0 and offset < len(self.placed) else None

    def start(
        self, deliver: Callable[[list[Placed]], None], stream: Callable[[list[StreamRecord]], None] | None
    ) -> None:
        self._deliver = deliver
        self.stream = stream or self.stream
        deliver(list(self.placed))

    def not_ready(self) -> tuple[str, ...]:
        return () if self.is_ready else ("not read",)

    def close(self) -> None:
        self._deliver = lambda _: None


def door_settings(directory: Path, **changes: Any) -> DoorSettings:
    """Settings of a door with the keys above, on any free port."""
    keys = directory / "keys.toml"
    if not keys.exists():
        keys.write_text(KEYS, encoding="utf-8")
    values: dict[str, Any] = {
        "port": 0,
        "metrics_port": 0,
        "keys_file": str(keys),
        "digest_key": Secret("digest key"),
        "deadline_s": PATIENCE_S,
        "request_timeout_s": PATIENCE_S,
        **changes,
    }
    return DoorSettings(**values)


@contextmanager
def open_door(settings: Settings, open_link: OpenLink | None = None) -> Generator[RunningDoor]:
    """A door that listens while the block runs; without `open_link` it is connected to Kafka."""
    telemetry = start_telemetry(TelemetrySettings(), "door")
    door = RunningDoor(settings, telemetry) if open_link is None else RunningDoor(settings, telemetry, open_link)
    errors: list[BaseException] = []

    def serve() -> None:
        try:
            asyncio.run(door.serve())
        except BaseException as exc:  # noqa: BLE001 - the test asserts that there is none
            errors.append(exc)
            door.is_up.set()

    thread = threading.Thread(target=serve, name="door")
    thread.start()
    try:
        assert door.is_up.wait(START_S), "the door did not open"
        assert not errors, errors
        yield door
    finally:
        door.stop()
        thread.join(START_S)
        telemetry.shutdown(1)
    assert not thread.is_alive(), "the door did not end"
    assert not errors, errors


def client_of(door: RunningDoor, api_key: str = API_KEY, **options: Any) -> openai.OpenAI:
    """The official client, which repeats nothing unless `max_retries` says so."""
    given: dict[str, Any] = {"max_retries": 0, "timeout": PATIENCE_S, **options}
    return openai.OpenAI(api_key=api_key, base_url=f"http://127.0.0.1:{door.port}/v1", **given)
