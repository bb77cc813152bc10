"""How each end of an event looks to a client."""

import msgspec
import pytest

from topology.contract.events import TextPart, Usage
from workers.door.outcomes import Reply, completed, judged, late
from workers.door.reasons import Answered, End, end_of, in_words
from workers.door.requests import Asked

ASKED = Asked(messages=(), model="sluicegate")


def answer(action: str = "published", *codes: str, **changes: object) -> Answered:
    fields: dict[str, object] = {
        "event_id": "e1",
        "conversation_id": "c1",
        "tenant_id": "t",
        "action": action,
        "mode": "direct_answer",
        "parts": (TextPart(text="Blue."),),
        "reason_codes": codes,
        "policy_ref": "core@1.0.0#abc",
        "audit_id": "a1",
        "usage": Usage(input_tokens=3, output_tokens=4),
        **changes,
    }
    return msgspec.convert(fields, Answered)


def shown(reply: Reply) -> dict[str, object]:
    return msgspec.json.decode(reply.body)


TABLE: list[tuple[Answered, End, int, str]] = [
    (answer("published", "V99"), End.LET_OUT, 200, "stop"),
    (answer("redacted", "V04"), End.LET_OUT, 200, "stop"),
    (answer("safe_completed", "V11"), End.LET_OUT, 200, "stop"),
    (answer("refused", "V02"), End.LET_OUT, 200, "stop"),
    (answer("published", "V99", "truncated"), End.LET_OUT, 200, "length"),
    (answer("withheld", "V05"), End.WITHHELD, 200, "content_filter"),
    (answer("quarantined"), End.WITHHELD, 200, "content_filter"),
    (answer("rejected", "invalid", detail="$.messages: at least 1"), End.REJECTED, 400, "rejected"),
    (answer("withheld", "rate_limited", retry_after_ms=1500), End.LIMITED, 429, "rate_limited"),
    (answer("withheld", "V01"), End.FAILED, 504, "not_answered"),
    (answer("withheld", "classification_timeout"), End.FAILED, 504, "not_answered"),
    (answer("withheld", "generator_unreachable"), End.FAILED, 504, "not_answered"),
    (answer("withheld", "deadline", "generator_overloaded", retry_after_ms=2000), End.FAILED, 503, "not_answered"),
    (answer("withheld", "overloaded"), End.FAILED, 504, "not_answered"),
    (answer("withheld", "poison"), End.FAILED, 504, "not_answered"),
    (answer("withheld", "client_gone"), End.GONE, 503, "client_gone"),
    (answer("withheld", "duplicate_event", duplicate_of="a0"), End.REPEATED, 409, "already_answered"),
]


@pytest.mark.parametrize(("given", "end", "status", "word"), TABLE)
def test_every_end_has_one_form(given: Answered, end: End, status: int, word: str) -> None:
    reply = completed(given, 1, ASKED)
    assert (end_of(given), reply.status) == (end, status)
    found = msgspec.json.decode(reply.body)
    if status == 200:
        assert found["choices"][0]["finish_reason"] == word
        assert found["choices"][0]["message"]["content"] == "Blue."
        told = found["sluicegate"]
    else:
        assert found["error"]["code"] == word
        told = found["error"]["sluicegate"]
        assert "Blue." not in reply.body.decode()
    assert (told["action"], told["audit_id"], told["policy"]) == (given.action, "a1", "core@1.0.0#abc")
    assert [reason["code"] for reason in told["reasons"]] == list(given.reason_codes)
    assert all(reason["words"] for reason in told["reasons"])
    assert reply.headers["x-sluicegate-event-id"] == "e1"
    assert reply.headers["x-sluicegate-action"] == given.action


def test_only_final_ends_answer_a_later_request() -> None:
    assert {end for end in End if end.is_final} == {End.LET_OUT, End.WITHHELD, End.REJECTED}


def test_a_failure_is_not_to_be_tried_again_unless_the_wait_is_known() -> None:
    assert completed(answer("withheld", "V01"), 1, ASKED).headers["x-should-retry"] == "false"
    waiting = completed(answer("withheld", "deadline", retry_after_ms=2000), 1, ASKED).headers
    assert (waiting["Retry-After"], waiting["retry-after-ms"]) == ("2", "2000")
    assert "x-should-retry" not in waiting


def test_a_long_wait_is_told_and_not_left_to_the_library() -> None:
    headers = completed(answer("withheld", "rate_limited", retry_after_ms=61_000), 1, ASKED).headers
    assert (headers["Retry-After"], headers["x-should-retry"]) == ("61", "false")


def test_what_is_late_names_its_event() -> None:
    reply = late("e1")
    assert (reply.status, reply.headers["x-sluicegate-event-id"]) == (504, "e1")
    assert reply.headers["x-should-retry"] == "false"


def test_whoever_reads_the_same_response_gets_the_same_bytes() -> None:
    assert completed(answer("published", "V99"), 7, ASKED) == completed(answer("published", "V99"), 7, ASKED)


def test_a_stream_holds_the_same_answer() -> None:
    asked = Asked(messages=(), model="sluicegate", is_stream=True, with_usage=True)
    reply = completed(answer("withheld", "V05"), 1, asked)
    *lines, done = reply.chunks
    assert done == b"data: [DONE]\n\n"
    assert all(line.startswith(b"data: ") and line.endswith(b"\n\n") for line in lines)
    bodies = [msgspec.json.decode(line[6:]) for line in lines]
    assert {body["object"] for body in bodies} == {"chat.completion.chunk"}
    assert {body["id"] for body in bodies} == {"chatcmpl-a1"}
    *with_choice, usage = bodies
    assert "".join(body["choices"][0]["delta"].get("content", "") for body in with_choice) == "Blue."
    assert [body["choices"][0]["finish_reason"] for body in with_choice] == [None, None, "content_filter"]
    assert with_choice[-1]["sluicegate"]["action"] == "withheld"
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 7)


def test_a_failure_is_no_stream() -> None:
    asked = Asked(messages=(), model="sluicegate", is_stream=True)
    assert not completed(answer("withheld", "V01"), 1, asked).chunks


def test_a_check_passes_only_what_is_published_as_it_is() -> None:
    passed = msgspec.json.decode(judged(answer("published", "V99"), 1).body)
    held = msgspec.json.decode(judged(answer("refused", "V02"), 1).body)
    assert (passed["passed"], held["passed"]) == (True, False)
    assert (passed["text"], passed["object"]) == ("Blue.", "sluicegate.check")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("generator_timeout", "the model that answers did not answer in time"),
        ("guard_llm_crashed", "the part guard_llm crashed"),
        ("W3", "the policy's rule W3"),
        ("rate_limited", "the tenant is over its budget"),
    ],
)
def test_a_reason_is_told_in_words(code: str, words: str) -> None:
    assert in_words(code) == words


def test_a_header_holds_ascii_alone() -> None:
    reply = completed(answer("published", "V99", policy_ref="käse@1\r\nx: y#a"), 1, ASKED)
    assert reply.headers["x-sluicegate-policy"] == "k%C3%A4se@1%0D%0Ax:%20y#a"
