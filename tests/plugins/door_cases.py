"""What a client of the door may meet, as requests of OpenAI's clients, and a door that makes each of it happen."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import openai
from msgspec import Struct

from tests.plugins.open_door import API_KEY, LIMITED_KEY, MemoryLink, answered, door_settings, open_door
from topology.contract.events import Action, AuditedResponse, ConversationEvent, parts_text
from topology.contract.records import Headers
from workers.door.asking import LogAway
from workers.settings import Settings

_WITHHELD: Final[dict[str, dict[str, Any]]] = {
    "refused": {"action": Action.REFUSED, "reason_codes": ("V02",)},
    "withheld": {"action": Action.WITHHELD, "reason_codes": ("V05",)},
    "rejected": {"action": Action.REJECTED, "reason_codes": ("invalid",), "detail": "$.messages"},
    "over its tenant's budget": {
        "action": Action.WITHHELD,
        "reason_codes": ("rate_limited",),
        "retry_after_ms": 7000,
    },
    "a guard failed": {"action": Action.WITHHELD, "reason_codes": ("assess_timeout",)},
    "the model is down": {"action": Action.WITHHELD, "reason_codes": ("deadline", "generator_unreachable")},
    "the model is overloaded": {
        "action": Action.WITHHELD,
        "reason_codes": ("generator_overloaded",),
        "retry_after_ms": 5000,
    },
    "answered before, and forgotten": {
        "action": Action.WITHHELD,
        "reason_codes": ("duplicate_event",),
        "duplicate_of": "gone",
    },
}
"""How a worker ends the event, by the text of its question; any other text is answered."""

REFUSED_FIELDS: Final[dict[str, Any]] = {
    "n": 2,
    "logprobs": True,
    "top_logprobs": 2,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "logit_bias": {"50256": 1},
    "response_format": {"type": "json_object"},
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "web_search_options": {},
    "prediction": {"type": "content", "content": "x"},
    "reasoning_effort": "high",
    "verbosity": "low",
    "store": True,
}
"""Each field that is refused, with a value that asks for something."""


class Case(Struct, frozen=True, kw_only=True):
    """One request. `timeout_s` is the client's own."""

    name: str
    body: dict[str, Any]
    key: str = API_KEY
    headers: dict[str, str] = {}
    timeout_s: float = 60.0
    max_retries: int = 0


class Met(Struct, frozen=True, kw_only=True):
    """What a client's user meets. `code` is the finish reason where nothing is raised; `wait` is `Retry-After`."""

    name: str
    raised: str = ""
    status: int = 0
    code: str = ""
    param: str = ""
    is_final: bool = False
    wait: str = ""
    text: str = ""


def _case(name: str, text: str = "", **changes: Any) -> Case:
    body = {"model": "sluicegate", "messages": [{"role": "user", "content": text or name}]}
    return Case(name=name, body={**body, **changes.pop("body", {})}, **changes)


def cases() -> list[Case]:
    """Every case, in the order in which they are to be asked."""
    return [
        _case("plain"),
        _case("streamed", body={"stream": True}),
        *[_case(name) for name in _WITHHELD],
        _case("refused, streamed", "refused", body={"stream": True}),
        _case("withheld, streamed", "withheld", body={"stream": True}),
        _case("wrong key", key="sk-nobody"),
        _case("unknown model", body={"model": "gpt-9"}),
        _case("untrusted header", headers={"x-sluicegate-user": "anna"}),
        _case("too long a body", "x" * 3000, key=LIMITED_KEY),
        _case("the last request of the minute", key=LIMITED_KEY),
        _case("too many requests of the key", key=LIMITED_KEY),
        *[_case(f"field {name}", body={name: value}) for name, value in REFUSED_FIELDS.items()],
        _case("brokers down"),
        _case("workers down"),
        _case("client gone", "workers down", timeout_s=0.2, headers={"Idempotency-Key": "gone"}),
        _case("another request under its key", headers={"Idempotency-Key": "gone"}),
    ]


class CaseLink(MemoryLink):
    """Topics in memory, whose worker ends an event as the text of its question says."""

    def __init__(self) -> None:
        super().__init__(self._ended)

    def send(self, key: bytes, value: bytes, headers: Headers, acknowledged: Any) -> None:
        if b"brokers down" in value:
            raise LogAway
        super().send(key, value, headers, acknowledged)

    def _ended(self, event: ConversationEvent, own_id: str) -> AuditedResponse | None:
        text = parts_text(event.messages[-1].parts)
        return None if text == "workers down" else answered(event, own_id, **_WITHHELD.get(text, {}))


@contextmanager
def door_of_cases(directory: Path) -> Generator[str]:
    """The base URL of a door at which every case happens; its deadline is short."""
    settings = Settings(door=door_settings(directory, deadline_s=0.5))
    with open_door(settings, lambda *_: CaseLink()) as door:
        yield f"http://127.0.0.1:{door.port}/v1"


def met_in_python(base_url: str, case: Case) -> Met:
    """What a user of the official Python client meets."""
    client = openai.OpenAI(base_url=base_url, api_key=case.key, max_retries=case.max_retries, timeout=case.timeout_s)
    try:
        if not case.body.get("stream"):
            (choice,) = client.chat.completions.create(**_known(case)).choices
            return Met(name=case.name, status=200, code=choice.finish_reason, text=choice.message.content or "")
        chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**_known(case)) if chunk.choices]
        text = "".join(chunk.delta.content or "" for chunk in chunks)
        return Met(name=case.name, status=200, code=chunks[-1].finish_reason or "", text=text)
    except openai.APIStatusError as exc:
        told = exc.response.headers
        return Met(
            name=case.name,
            raised=type(exc).__name__,
            status=exc.status_code,
            code=exc.code or "",
            param=exc.param or "",
            is_final=told.get("x-should-retry") == "false",
            wait=told.get("retry-after", ""),
        )
    except openai.APIError as exc:
        return Met(name=case.name, raised=type(exc).__name__)


def _known(case: Case) -> dict[str, Any]:
    """The arguments of the client's call."""
    named = {"model", "messages", "stream"}
    return {
        **{name: case.body[name] for name in case.body if name in named},
        "extra_body": {name: case.body[name] for name in case.body if name not in named},
        "extra_headers": case.headers,
    }


def table(met: list[tuple[Met, Met | None]]) -> str:
    """What is met, as the table of docs/door.md; the second of each pair is the JavaScript client's."""
    lines = [
        "| case | status | `code`, or `finish_reason` | `param` | wait | Python raises | JavaScript throws |",
        "|---|---|---|---|---|---|---|",
    ]
    for found, other in met:
        wait = "not again" if found.is_final else f"{found.wait} s" if found.wait else ""
        code = f"`{found.code}`" if found.code else ""
        param = f"`{found.param}`" if found.param else ""
        raised = f"`{found.raised}`" if found.raised else ""
        thrown = "" if other is None or not other.raised else f"`{other.raised}`"
        lines.append(f"| {found.name} | {found.status or ''} | {code} | {param} | {wait} | {raised} | {thrown} |")
    return "\n".join(lines) + "\n"
