"""The wire form: what is sent, and the answer that comes out of chunks cut anywhere."""

import json
import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.endpoint.completion import ChatBody, ChatTurn, Completion, CompletionStream, encode_body
from serving.endpoint.stream_errors import StreamError
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


def choice(delta: object, finish_reason: object = None, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, **more}]}


def answered(*events: bytes) -> Completion:
    stream = CompletionStream()
    for one in events:
        stream.feed(one)
    return stream.completion()


LAST = chunk(finish_reason="stop")


@pytest.mark.parametrize(
    "needless",
    [
        b"data: null\n\n",
        b"data:\n\n",
        b"data:  \n\n",
        b"data: {}\n\n",
        event({"type": "ping"}),
        event({"choices": None, "usage": None}),
        event({"choices": [None]}),
        event(choice(None)),
        event(choice({"role": "assistant", "content": None})),
        event({"id": None, "model": None, "object": 3, "choices": []}),
        event({"id": 7, "model": ["m"], "created": "now", "choices": []}),
        event({"choices": [], "usage": "none", "error": None}),
        event({"choices": [], "error": {}}),
    ],
)
def test_a_chunk_without_anything_that_an_answer_needs_changes_nothing(needless: bytes) -> None:
    completion = answered(needless, chunk("Low"), needless, chunk(" tide"), LAST, needless)
    assert (completion.text, completion.finish_reason) == ("Low tide", "stop")


@pytest.mark.parametrize("index", [None, 0, 0.0, "0"])
def test_the_first_choice_may_have_any_index_that_says_first(index: object) -> None:
    assert answered(event(choice({"content": "Low"}, "stop", index=index))).text == "Low"


@pytest.mark.parametrize(
    ("spelt", "count"), [(12, 12), (12.0, 12), ("12", 12), ("12.0", 12), (None, 0), ("many", 0), (-3, 0), ([1], 0)]
)
def test_tokens_count_however_they_are_spelt(spelt: object, count: int) -> None:
    usage = event({"choices": [], "usage": {"prompt_tokens": spelt, "completion_tokens": spelt}})
    completion = answered(chunk("Low"), LAST, usage)
    assert (completion.input_tokens, completion.output_tokens) == (count, count)


def test_a_number_of_tokens_beyond_any_model_is_none() -> None:
    usage = b'data: {"usage": {"prompt_tokens": 1e300, "completion_tokens": "1e999"}}\n\n'
    assert answered(chunk("Low"), LAST, usage).output_tokens == 0


def test_the_text_of_a_content_in_parts_is_that_of_its_text_parts() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "no"}]},
        {"type": "text", "text": "Low"},
        " tide",
        None,
        {"type": "image_url", "text": "no"},
    ]
    assert answered(event(choice({"content": parts})), LAST).text == "Low tide"


@pytest.mark.parametrize("end", [b"data: [DONE] \n\n", b"data:[DONE]\t\r\n\r\n", b"data:   [DONE]"])
def test_the_end_may_have_blanks_around_it(end: bytes) -> None:
    assert answered(chunk("Low"), LAST, end).text == "Low"


@pytest.mark.parametrize("cut_bytes", [1, 2])
def test_the_last_event_may_lack_its_empty_line(cut_bytes: int) -> None:
    assert answered(chunk("Low"), LAST[:-cut_bytes]).finish_reason == "stop"
    usage = event({"choices": [], "usage": {"completion_tokens": 3}})
    assert answered(chunk("Low"), LAST, usage[:-cut_bytes]).output_tokens == 3


def test_a_finished_answer_stands_although_what_follows_it_is_cut() -> None:
    assert answered(chunk("Low"), LAST, b'data: {"choices": [], "us').text == "Low"


def test_an_unfinished_answer_whose_last_event_is_cut_is_none() -> None:
    with pytest.raises(StreamError):
        answered(chunk("Low"), LAST[:-5])


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"choices": {"secret": 1}}, "$.choices"),
        ({"choices": ["secret"]}, "$.choices[0]"),
        (choice("secret"), "$.choices[0].delta"),
        (choice({"content": {"secret": 1}}), "$.choices[0].delta.content"),
        (choice({"content": [3]}), "$.choices[0].delta.content[0]"),
        (["secret"], "$"),
    ],
)
def test_a_field_that_an_answer_needs_is_named_by_its_path_alone(value: object, path: str) -> None:
    with pytest.raises(StreamError) as caught:
        CompletionStream().feed(event(value))
    assert caught.value.problem.endswith(f" at {path}")
    assert "secret" not in caught.value.problem


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 400}, 400),
        ({"code": 503}, 503),
        ({"code": 429.0}, 429),
        ({"code": "429"}, 429),
        ({"code": "bad"}, 500),
        ({"code": None}, 500),
        ({"code": 7}, 500),
        ({"code": "context_length_exceeded", "type": "invalid_request_error"}, 400),
        ({"code": None, "type": "rate_limit_error"}, 429),
        ({"code": "", "type": "overloaded_error"}, 503),
        ({"type": "BadRequestError"}, 400),
        ({"status": "RESOURCE_EXHAUSTED"}, 429),
        ({"status_code": 504}, 504),
        ({"type": ["secret"]}, 500),
        ("rate_limit_exceeded", 429),
        ("secret went wrong", 500),
        (404, 404),
        (["secret"], 500),
        (True, 500),
    ],
)
def test_an_error_inside_the_stream_keeps_its_status_and_not_its_text(error: object, status: int) -> None:
    if isinstance(error, dict):
        error = {"message": "secret", **error}
    with pytest.raises(StreamError) as caught:
        CompletionStream().feed(event({"error": error}))
    assert caught.value.status == status
    assert "secret" not in str(caught.value)


def test_a_chunk_may_be_the_error_itself() -> None:
    with pytest.raises(StreamError) as caught:
        CompletionStream().feed(event({"object": "error", "message": "secret", "type": "BadRequestError", "code": 400}))
    assert caught.value.status == 400


@given(st.lists(st.integers(min_value=0, max_value=60), max_size=8), st.booleans())
def test_reasoning_is_cut_out_wherever_the_stream_is_split(cuts: list[int], begins_inside: bool) -> None:
    whole = ("" if begins_inside else "<think>") + "the reader is a child</think>\n\nIt is the moon."
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [chunk(whole[start:end]) for start, end in pairwise(edges)]
    assert answered(*pieces, LAST).text == "It is the moon."


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "reasoning_details"])
def test_reasoning_in_a_field_of_its_own_is_not_read(field: str) -> None:
    thought = event(choice({field: "the reader is a child"}))
    assert answered(thought, chunk("The moon."), thought, LAST).text == "The moon."
    assert answered(thought, LAST).text == ""


@pytest.mark.parametrize("name", ["chatcmpl-evt_1.generator.1", "org/model-7B:v1.2", "a" * 256, "019a:b/c", ""])
def test_a_name_that_the_server_gives_is_kept(name: str) -> None:
    completion = answered(event({"id": name, "model": name, **choice({"content": "Low"}, "stop")}))
    assert (completion.response_id, completion.model) == (name, name)


@pytest.mark.parametrize("text", ["my card is 4111", "a" * 257, "naïve", "a\nb", "a\n", "<b>", "a b"])
def test_any_other_text_in_its_place_becomes_a_digest(text: str) -> None:
    completion = answered(event({"id": text, "model": text, **choice({"content": "Low"}, f"stop {text}")}))
    for name in (completion.response_id, completion.model, completion.finish_reason):
        assert re.fullmatch("sha256:[0-9a-f]{64}", name)
    assert completion.response_id == completion.model != completion.finish_reason


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
