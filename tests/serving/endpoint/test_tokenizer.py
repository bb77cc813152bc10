"""What a server is asked for its tokenizer, with which key, and what its silence means."""

import asyncio
import json

import pytest

from serving.endpoint import tokenizer
from serving.endpoint.tokenizer import TokenizerAnswer, ask_tokenizer
from serving.engine.child_server import VllmServer
from serving.generation.tokenizer_marks import marks_of_rendering
from tests.plugins.fake_endpoint import FakeEndpoint, Play, Received, raw, silence, status
from tests.plugins.patience import PATIENCE_S
from tests.plugins.vllm_server import TINY_MODEL
from topology.contract.errors import RetryLater, SettingsError
from topology.contract.labels import Outcome

NOT_OFFERED = status(404)
INFO = b'{"tokenizer_class": "T", "eos_token": "<e>"}'
TOKENS = ("<turn>", "user")
TEXTS = ("<a>", "<b>")


def tokenized(*texts: str) -> Play:
    return status(200, json.dumps({"count": len(texts), "tokens": [1] * len(texts), "token_strs": texts}).encode())


def asked(*plays: Play, api_key: str = "", timeout_s: float = 20.0) -> tuple[TokenizerAnswer, list[Received]]:
    async def session() -> tuple[TokenizerAnswer, list[Received]]:
        async with FakeEndpoint(list(plays), then=NOT_OFFERED) as server:
            answer = await ask_tokenizer(server.base_url, "m", TEXTS, api_key=api_key, timeout_s=timeout_s)
            return answer, server.received

    return asyncio.run(session())


def test_configuration_and_a_written_conversation_are_asked_for_beside_the_chat_api() -> None:
    answer, received = asked(status(200, INFO), tokenized(*TOKENS), tokenized("<b>", "Ċ", "<"), api_key="k-1")
    assert answer == TokenizerAnswer(configuration=INFO, conversation=TOKENS, known=frozenset({"<b>"}))
    assert [each.path for each in received] == ["/tokenizer_info", "/tokenize", "/tokenize"]
    assert {each.headers["authorization"] for each in received} == {"Bearer k-1"}
    body = received[1].body
    assert (body["model"], body["return_token_strs"]) == ("m", True)
    assert received[2].body == {"model": "m", "return_token_strs": True, "prompt": "<a>\n<b>"}
    assert "authorization" not in asked(status(200, INFO))[1][0].headers


@pytest.mark.vllm
def test_vllm_writes_the_marks_of_its_template(vllm_server: VllmServer) -> None:
    texts = ("<pad>", "</turn>", "<other>")
    answer = asyncio.run(ask_tokenizer(vllm_server.base_url, TINY_MODEL, texts, api_key="", timeout_s=PATIENCE_S))
    assert marks_of_rendering(answer.conversation) == {"<turn>", "</turn>"}
    assert answer.known == {"<pad>", "</turn>"}


def test_a_template_that_refuses_a_system_message_is_asked_without_one() -> None:
    answer, received = asked(NOT_OFFERED, status(400), tokenized(*TOKENS))
    assert answer.conversation == TOKENS
    roles = [[turn["role"] for turn in each.body["messages"]] for each in received[1:3]]  # pyright: ignore[reportGeneralTypeIssues]
    assert roles == [["system", "user", "assistant", "user"], ["user", "assistant", "user"]]


@pytest.mark.parametrize(
    "play",
    [NOT_OFFERED, status(401), status(500), status(302, b"", "Location: http://127.0.0.1:1/"), status(200, b"{")],
    ids=["path", "key", "error", "redirect", "no JSON"],
)
def test_a_server_that_does_not_offer_it_says_nothing(play: Play) -> None:
    assert asked(NOT_OFFERED, play, play, play)[0] == TokenizerAnswer()


def test_a_server_that_takes_plain_texts_only_tells_which_of_them_are_tokens() -> None:
    answer, _ = asked(NOT_OFFERED, status(422), status(422), tokenized("<a>", "Ċ", "<", "b", ">"))
    assert answer == TokenizerAnswer(known=frozenset({"<a>"}))


@pytest.mark.parametrize(
    ("play", "outcome"),
    [
        (status(503), Outcome.OVERLOADED),
        (raw(b""), Outcome.UNREACHABLE),
        (silence, Outcome.TIMEOUT),
    ],
    ids=["loading", "closed", "silent"],
)
def test_a_server_that_is_away_may_say_it_later(play: Play, outcome: Outcome) -> None:
    timeout_s = 0.3 if play is silence else 20.0
    for plays in ((play, play), (NOT_OFFERED, play, play)):
        with pytest.raises(RetryLater) as away:
            asked(*plays, timeout_s=timeout_s)
        assert away.value.outcome is outcome


def test_no_more_than_the_bound_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "BODY_BYTES_MAX", len(INFO))
    assert asked(status(200, INFO))[0].configuration == INFO
    assert asked(status(200, INFO + b" "))[0] == TokenizerAnswer()


def test_a_key_with_a_line_break_is_not_sent() -> None:
    with pytest.raises(SettingsError):
        asked(api_key="a\nb")
