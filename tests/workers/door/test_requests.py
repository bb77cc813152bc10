"""What a request asks for, and the field that a refusal names."""

from typing import Any

import msgspec
import pytest

from topology.contract.events import GenerationParameters, ImagePart, Message, Role, TextPart
from workers.door.refusals import Refusal
from workers.door.requests import Asked, check_asked, completion_asked

MODELS = ("sluicegate",)
ASKS: list[dict[str, Any]] = [{"role": "user", "content": "Name a colour."}]


def asked(**changes: Any) -> Asked:
    body = {"model": "sluicegate", "messages": ASKS, **changes}
    return completion_asked(msgspec.json.encode(body), MODELS)


def refusal(**changes: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        asked(**changes)
    return caught.value


def test_a_message_becomes_a_message() -> None:
    assert asked().messages == (Message(role=Role.USER, parts=(TextPart(text="Name a colour."),)),)


def test_a_system_message_has_the_authority_of_a_developer() -> None:
    found = asked(messages=[{"role": "system", "content": "Be brief."}, *ASKS])
    assert [message.role for message in found.messages] == [Role.DEVELOPER, Role.USER]


def test_parts_are_parts() -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
    ]
    (message,) = asked(messages=[{"role": "user", "content": content}]).messages
    assert message.parts == (TextPart(text="What is this?"), ImagePart(reference="https://example.org/a.png"))


def test_a_refusal_of_the_assistant_is_its_text() -> None:
    found = asked(messages=[*ASKS, {"role": "assistant", "content": None, "refusal": "No."}, *ASKS])
    assert found.messages[1] == Message(role=Role.ASSISTANT, parts=(TextPart(text="No."),))


def test_parameters_are_passed_on() -> None:
    found = asked(temperature=0.5, top_p=0.9, max_tokens=7, seed=3, stop="\n", n=1)
    assert found.generation == GenerationParameters(temperature=0.5, top_p=0.9, max_tokens=7, seed=3, stop=("\n",))
    assert asked(max_tokens=7, max_completion_tokens=9, stop=["a", "b"]).generation == GenerationParameters(
        max_tokens=9, stop=("a", "b")
    )


def test_the_safety_identifier_says_who_asks_and_else_the_user() -> None:
    assert asked(user="u").subject == "u"
    assert asked(user="u", safety_identifier="s").subject == "s"
    assert asked().subject == ""


def test_a_stream_and_its_usage() -> None:
    assert (asked(stream=True).is_stream, asked(stream=True).with_usage) == (True, False)
    assert asked(stream=True, stream_options={"include_usage": True}).with_usage


DEFAULTS: dict[str, Any] = {
    "audio": None,
    "frequency_penalty": 0,
    "function_call": "none",
    "functions": [],
    "logit_bias": None,
    "logprobs": False,
    "max_completion_tokens": None,
    "max_tokens": None,
    "metadata": {"ticket": "12"},
    "modalities": ["text"],
    "n": 1,
    "parallel_tool_calls": True,
    "prediction": None,
    "presence_penalty": 0.0,
    "prompt_cache_key": "k",
    "reasoning_effort": "medium",
    "response_format": {"type": "text"},
    "safety_identifier": "s",
    "seed": None,
    "service_tier": "auto",
    "stop": None,
    "store": False,
    "stream": False,
    "stream_options": None,
    "temperature": 1,
    "tool_choice": "none",
    "tools": [],
    "top_logprobs": None,
    "top_p": 1,
    "user": "u",
    "verbosity": "medium",
    "web_search_options": None,
}


def test_default_values_of_every_documented_field_pass() -> None:
    assert asked(**DEFAULTS).messages == asked().messages


REFUSED: list[tuple[str, Any]] = [
    ("audio", {"voice": "alloy", "format": "wav"}),
    ("frequency_penalty", 0.5),
    ("function_call", {"name": "f"}),
    ("functions", [{"name": "f"}]),
    ("logit_bias", {"50256": -100}),
    ("logprobs", True),
    ("max_completion_tokens", 0),
    ("max_tokens", "many"),
    ("metadata", {"k": "v" * 513}),
    ("modalities", ["text", "audio"]),
    ("n", 2),
    ("n", True),
    ("prediction", {"type": "content", "content": "x"}),
    ("presence_penalty", -1),
    ("reasoning_effort", "high"),
    ("response_format", {"type": "json_object"}),
    ("safety_identifier", "s" * 257),
    ("seed", -1),
    ("stop", ["a"] * 5),
    ("store", True),
    ("stream", "yes"),
    ("stream_options", {"include_usage": True}),
    ("temperature", 3),
    ("tool_choice", "required"),
    ("tools", [{"type": "function", "function": {"name": "f"}}]),
    ("top_logprobs", 2),
    ("top_p", 0),
    ("user", 7),
    ("verbosity", "low"),
    ("web_search_options", {}),
    ("ignore_eos", True),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(name: str, value: object) -> None:
    found = refusal(**{name: value})
    assert (found.status, found.param) == (400, name)
    assert found.error["param"] == name


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "x", "tool_call_id": "1"}, "messages[0].role"),
        ({"role": "stranger", "content": "x"}, "messages[0].role"),
        ({"role": ["user"], "content": "x"}, "messages[0].role"),
        ({"role": {}, "content": "x"}, "messages[0].role"),
        ({"content": "x"}, "messages[0].role"),
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "user", "content": []}, "messages[0].content"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"role": "assistant", "content": "x", "tool_calls": [{"id": "1"}]}, "messages[0].tool_calls"),
        ("x", "messages[0]"),
    ],
)
def test_a_message_that_cannot_be_honoured_is_refused_by_its_place(message: object, param: str) -> None:
    assert refusal(messages=[message]).param == param


@pytest.mark.parametrize("messages", [None, [], "hello", [ASKS[0]] * 257])
def test_messages_are_required_and_bounded(messages: object) -> None:
    assert refusal(messages=messages).param == "messages"


def test_an_unknown_model_is_not_found() -> None:
    found = refusal(model="other")
    assert (found.status, found.code, found.param) == (404, "model_not_found", "model")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a":' * 40 + b"1" + b"}" * 40, b'{"a": NaN}'])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        completion_asked(body, MODELS)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_a_refusal_says_nothing_of_a_value() -> None:
    assert "hunter2" not in str(refusal(stop=["hunter2"] * 5))
    assert "hunter2" not in str(refusal(messages=[{"role": "hunter2", "content": "hunter2"}]))


def test_a_check_has_an_answer_to_judge() -> None:
    found = check_asked(msgspec.json.encode({"messages": ASKS, "answer": "Blue."}))
    assert found.answer == (TextPart(text="Blue."),)
    with pytest.raises(Refusal) as caught:
        check_asked(msgspec.json.encode({"messages": ASKS}))
    assert caught.value.param == "answer"
