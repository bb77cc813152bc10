"""The wire form: what is sent, and the answer that comes out of chunks cut anywhere."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.endpoint.completion import ChatBody, ChatTurn, CompletionStream, StreamError, encode_body
from tests.plugins.fake_endpoint import MODEL, answer_bytes, chunk, event

WORDS = ("Grüße", " and", "\n\ndata: not an event", ' "quoted"', " 🌊")
STREAM = answer_bytes(WORDS)


def body(text: str) -> ChatBody:
    return ChatBody(model="m", messages=(ChatTurn(role="user", content=text),))


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=20))
def test_a_stream_cut_anywhere_gives_the_same_answer(cuts: list[int]) -> None:
    stream = CompletionStream()
    for start, end in pairwise([0, *sorted(cuts), len(STREAM)]):
        stream.feed(STREAM[start:end])
    completion = stream.completion()
    assert completion.text == "".join(WORDS)
    assert (completion.finish_reason, completion.model, completion.response_id) == ("stop", MODEL, "chatcmpl-1")
    assert (completion.input_tokens, completion.output_tokens) == (7, len(WORDS))


def test_an_answer_without_its_end_is_no_answer() -> None:
    stream = CompletionStream()
    stream.feed(chunk("half an ans"))
    with pytest.raises(StreamError, match="ended before"):
        stream.completion()


@pytest.mark.parametrize(
    "data", [b"data: {\n\n", b"data: []\n\n", b'data: {"choices": 1}\n\n', b'data: "\xff"\n\n', b"data: <html>\n\n"]
)
def test_a_chunk_that_is_no_chunk_is_an_error(data: bytes) -> None:
    with pytest.raises(StreamError):
        CompletionStream().feed(data)


@pytest.mark.parametrize(("code", "status"), [(400, 400), (503, 503), ("bad", 500), (None, 500), (7, 500)])
def test_an_error_inside_the_stream_keeps_its_status_and_not_its_text(code: object, status: int) -> None:
    with pytest.raises(StreamError) as caught:
        CompletionStream().feed(event({"error": {"message": "the user's words", "code": code}}))
    assert caught.value.status == status
    assert "words" not in str(caught.value)


def test_what_follows_the_end_is_not_read() -> None:
    stream = CompletionStream()
    stream.feed(STREAM + b"data: garbage\n\n")
    assert stream.is_ended
    assert stream.completion().text == "".join(WORDS)


def test_only_the_first_choice_counts() -> None:
    stream = CompletionStream()
    stream.feed(
        event({"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]})
    )
    stream.feed(chunk(finish_reason="stop"))
    assert stream.completion().text == "yes"


def test_a_body_holds_only_what_was_set() -> None:
    assert json.loads(encode_body(body("hi"))) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_lone_surrogate_does_not_stop_the_request() -> None:
    assert msgspec.json.decode(encode_body(body("a\ud800b")))["messages"][0]["content"] == "a?b"
