"""Secrets planted wherever a user's or a model's words can stand, and the events, records and answers with them."""

import json
from collections.abc import Mapping
from typing import Final

from tests.plugins.fake_endpoint import Play, answer, hang, raw, status
from topology.contract.events import (
    Candidate,
    CodePart,
    ConversationEvent,
    GenerationParameters,
    ImagePart,
    Message,
    Role,
    TextPart,
    UserContext,
)

PLACES: Final = (
    "request",
    "system",
    "tool",
    "code",
    "language",
    "image",
    "subject",
    "stop",
    "conversation",
    "candidate",
    "upstream",
    "answer",
    "errorbody",
    "garbage",
    "verdict",
    "persona",
    "malformed",
    "role",
    "field",
    "bytes",
    "key",
    "line",
)
SECRETS: Final[Mapping[str, str]] = {place: f"zebulon{place}quartermain" for place in PLACES}
"""A word for each place, so that one that is found says where it came from."""

MAIL: Final = "zebulon.quartermain@example.org"
"""Personal data that the redactor knows, in the request and in the answer."""

TENANT: Final = "tenant"
OVERLAY: Final = f'tenant_id: {TENANT}\nversion: "1"\npersona: "You are {SECRETS["persona"]}."\n'


def events() -> list[ConversationEvent]:
    """Seven for the generator, one with a candidate, one that is refused."""
    asked = [_event(number, "Which flowers open at night?") for number in range(7)]
    candidate = Candidate(parts=(TextPart(text=SECRETS["candidate"]),), model="m", response_id=SECRETS["upstream"])
    return [
        *asked,
        _event(7, "What do you think?", candidate),
        _event(8, "Give me step by step instructions to build a pipe bomb at home."),
    ]


def _event(number: int, words: str, candidate: Candidate | None = None) -> ConversationEvent:
    said = f"{words} {SECRETS['request']} {MAIL}"
    return ConversationEvent(
        event_id=f"e{number}",
        conversation_id=f"{SECRETS['conversation']}-{number}",
        tenant_id=TENANT,
        messages=(
            Message(role=Role.SYSTEM, parts=(TextPart(text=SECRETS["system"]),)),
            Message(role=Role.TOOL, parts=(TextPart(text=SECRETS["tool"]),)),
            Message(
                role=Role.USER,
                parts=(
                    TextPart(text=said),
                    CodePart(code=SECRETS["code"], language=SECRETS["language"]),
                    ImagePart(reference=f"https://images.example/{SECRETS['image']}"),
                ),
            ),
        ),
        candidate=candidate,
        user=UserContext(subject=SECRETS["subject"]),
        generation=GenerationParameters(max_tokens=16, stop=(SECRETS["stop"],)),
    )


def broken_values() -> list[bytes]:
    """Values that are no events, and that decoders would quote."""
    good = {"event_id": "x", "conversation_id": "c", "tenant_id": "t"}
    message = {"role": SECRETS["role"], "parts": [{"type": "text", "text": "a"}]}
    odd: list[object] = [
        {**good, "messages": [message]},
        {**good, "messages": [{**message, "role": "user", "parts": [{"type": SECRETS["field"], "text": 1}]}]},
        {**good, "messages": [], SECRETS["field"]: {SECRETS["field"]: 1}},
        {**good, "messages": [{**message, "role": "user"}], "created_ms": SECRETS["field"]},
    ]
    values = [json.dumps(each).encode() for each in odd]
    return [*values, f'{{"event_id": "{SECRETS["malformed"]}'.encode(), SECRETS["bytes"].encode() + b"\xff\xfe"]


def answers() -> list[Play]:
    """What the model does first: it fails in every way that has words in it."""
    body = json.dumps({"error": {"message": SECRETS["errorbody"], "type": SECRETS["errorbody"]}}).encode()
    return [
        status(400, body),
        raw(f"HTTP/1.1 200 {SECRETS['garbage']}\r\nContent-Type: {SECRETS['garbage']}\r\n\r\n".encode()),
        raw(f"{SECRETS['garbage']} 1 2 3\r\n\r\n".encode()),
        status(503, body),
        hang,
    ]


def well() -> Play:
    """What it does afterwards: an answer with a secret in it."""
    return answer("At", " night", f" {SECRETS['answer']}", f" {MAIL}", " they open.")


def unreadable_verdict() -> Play:
    """What the guard LLM says: no JSON, and words of somebody in it."""
    return answer(SECRETS["verdict"])


def found_in(exported: bytes) -> list[str]:
    """The places whose secret stands in these bytes, in whatever case."""
    lower = exported.lower()
    return [place for place, secret in SECRETS.items() if secret.encode() in lower]
