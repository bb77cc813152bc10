"""The span tree of an event: names, kinds, parents, links, and what must not be in it."""

import asyncio

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.trace import SpanKind, StatusCode

from tests.topology.telemetry.recorded_spans import (
    CONVERSATION,
    PLANTED,
    TRACE_ID,
    TRACEPARENT,
    UPSTREAM,
    Recorded,
    conversation,
    parent_of,
    record,
    span_id_of,
    walk,
)
from topology.contract.drafts import Draft
from topology.contract.errors import CheckFailed, DeadLetter, DeadLetterReason
from topology.contract.events import Action
from topology.contract.labels import Outcome
from topology.contract.names import DraftSource
from topology.contract.records import Headers, OutRecord, Result
from topology.telemetry.event_trace import EventTrace
from topology.telemetry.options import SpanStyle
from topology.telemetry.trace_context import conversation_hash
from topology.telemetry.tracing import LINKS_MAX, Tracing


def test_an_event_with_one_attempt_is_a_tree_of_eight_spans_under_the_chat_services_span() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        walk(trace)
    process = recorded.named("process conversations.events")
    assert {span.name: span.kind for span in recorded.spans} == {
        "process conversations.events": SpanKind.CONSUMER,
        "guard input": SpanKind.INTERNAL,
        "chat m1": SpanKind.CLIENT,
        "guard output": SpanKind.INTERNAL,
        "classification": SpanKind.INTERNAL,
        "bias": SpanKind.INTERNAL,
        "logging": SpanKind.INTERNAL,
        "send conversations.audited": SpanKind.PRODUCER,
    }
    assert {parent_of(span) for span in recorded.spans if span is not process} == {span_id_of(process)}
    assert f"{parent_of(process):016x}" == UPSTREAM
    assert [f"{link.context.span_id:016x}" for link in process.links] == [UPSTREAM]
    assert {f"{span.context.trace_id:032x}" for span in recorded.spans if span.context} == {TRACE_ID}
    assert trace.trace_id == TRACE_ID


def test_in_link_mode_an_event_begins_a_trace_of_its_own_and_keeps_the_link() -> None:
    recorded = Recorded("link")
    with recorded.tracing.event(record()) as trace:
        walk(trace)
    process = recorded.named("process conversations.events")
    assert process.parent is None
    assert trace.trace_id != TRACE_ID
    assert [f"{link.context.trace_id:032x}" for link in process.links] == [TRACE_ID]


def test_a_span_that_is_current_by_accident_is_nobodys_parent() -> None:
    recorded = Recorded()
    with recorded.tracing.options.tracer.start_as_current_span("accident"):
        with recorded.tracing.event(record(())) as trace:
            walk(trace)
        with recorded.tracing.commit("conversations.events", []):
            pass
    assert recorded.named("process conversations.events").parent is None
    assert recorded.named("commit conversations.events").parent is None


def test_the_context_that_is_sent_on_is_that_of_the_send_span_and_the_chat_span() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        with trace.chat("generator", 2) as chat:
            pass
        headers = walk(trace)
    send = span_id_of(recorded.named("send conversations.audited"))
    assert headers["traceparent"].startswith(f"00-{TRACE_ID}-{send:016x}-")
    chats = {span_id_of(span) for span in recorded.spans if span.name == "chat m1"}
    assert int(chat.headers["traceparent"][36:52], 16) in chats


def test_the_request_id_says_event_role_and_attempt_and_fits_a_header() -> None:
    with Recorded().tracing.event(record()) as trace:
        trace.of_event(conversation("e 1\r\nX: ü"), "p@1")
        with trace.chat("judge", 2) as chat:
            assert chat.request_id == "e%201%0D%0AX:%20%C3%BC.judge.2"


def test_baggage_goes_on_to_records_but_not_to_the_model() -> None:
    with Recorded().tracing.event(record((("traceparent", TRACEPARENT), ("baggage", b"a=1")))) as trace:
        with trace.chat("generator", 1) as chat:
            assert "baggage" not in chat.headers
        assert walk(trace)["baggage"] == "a=1"


@pytest.mark.parametrize(
    ("headers", "span_id"),
    [
        ((("traceparent", b"\xff\xfe"),), None),
        ((("traceparent", b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01"),), None),
        ((("traceparent", TRACEPARENT), ("traceparent", b"rubbish")), UPSTREAM),
        ((("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT.replace(b"12", b"34"))), "34" * 8),
        ((("TraceParent", TRACEPARENT[:-2] + b"ff"),), UPSTREAM),
        ((("traceparent", TRACEPARENT[:-2] + b"03"),), UPSTREAM),
        ((("traceparent", TRACEPARENT), ("tracestate", b"\xff=")), UPSTREAM),
    ],
)
def test_of_several_trace_contexts_the_last_valid_one_counts_and_any_flags_do(
    headers: Headers, span_id: str | None
) -> None:
    recorded = Recorded()
    with recorded.tracing.event(record(headers)) as trace:
        walk(trace)
    parent = recorded.named("process conversations.events").parent
    assert (f"{parent.span_id:016x}" if parent is not None else None) == span_id


def test_verdict_and_action_stand_apart_and_a_refusal_is_no_error() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        walk(trace, Action.REFUSED)
    process = recorded.named("process conversations.events")
    assert process.attributes is not None
    assert process.attributes["sluicegate.verdict"] == "publish"
    assert process.attributes["sluicegate.action"] == "refused"
    assert process.attributes["sluicegate.keep"] is True
    assert {span.status.status_code for span in recorded.spans} == {StatusCode.UNSET}


def test_a_published_event_asks_no_tail_sampler_to_be_kept() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        walk(trace)
    assert "sluicegate.keep" not in (recorded.named("process conversations.events").attributes or {})


def test_a_guard_that_could_not_tell_is_an_error_on_its_span_and_on_the_event_it_withheld() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        with trace.stage("bias") as stage:
            stage.failed(Outcome.TIMEOUT.value)
        trace.decided(Action.WITHHELD, ("bias_timeout",))
    for name in ("bias", "process conversations.events"):
        span = recorded.named(name)
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "timeout"


def test_a_try_that_failed_before_one_that_answered_leaves_the_event_without_error() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        with trace.chat("generator", 1) as chat:
            chat.failed(Outcome.UNREACHABLE.value)
        with trace.chat("generator", 1) as chat:
            chat.answered(Draft(text="", source=DraftSource.GENERATOR))
        trace.decided(Action.WITHHELD, ("escalated",))
    assert recorded.named("process conversations.events").status.status_code is StatusCode.UNSET


def test_an_exception_is_recorded_by_its_type_alone() -> None:
    recorded = Recorded()
    with pytest.raises(ValueError, match="Zebulon"), recorded.tracing.event(record()) as trace, trace.guard_input():
        raise ValueError(PLANTED)
    for span in recorded.spans:
        assert (span.attributes or {})["error.type"] == "ValueError"
        assert span.status.description is None
        assert not span.events


@pytest.mark.parametrize(
    ("reason", "status"),
    [(DeadLetterReason.MALFORMED, StatusCode.UNSET), (DeadLetterReason.PROCESSING_FAILED, StatusCode.ERROR)],
)
def test_a_dead_letter_is_an_error_only_where_the_failure_is_ours(reason: DeadLetterReason, status: StatusCode) -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        trace.dead_lettered(DeadLetter(reason, "decode", "not JSON at byte 4"))
    process = recorded.named("process conversations.events")
    assert process.status.status_code is status
    assert (process.attributes or {})["sluicegate.dead_letter.reason"] == reason.value


def test_user_text_and_raw_conversation_ids_are_in_no_exported_byte() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace:
        walk(trace, Action.REFUSED)
        with pytest.raises(CheckFailed), trace.guard_input():
            raise CheckFailed(Outcome.CRASHED, "assess", PLANTED)
    exported = encode_spans(recorded.spans).SerializeToString()
    assert b"Zebulon" not in exported
    assert CONVERSATION.encode() not in exported
    assert conversation_hash(CONVERSATION).encode() in exported


def test_text_is_recorded_on_chat_spans_alone_where_capture_is_on() -> None:
    recorded = Recorded(style=SpanStyle(content=lambda text: f"shown: {text}"))
    with recorded.tracing.event(record()) as trace:
        walk(trace)
    holding = {
        (span.name, name)
        for span in recorded.spans
        for name, value in (span.attributes or {}).items()
        if f"shown: {PLANTED}" in str(value)
    }
    assert holding == {("chat m1", "gen_ai.input.messages"), ("chat m1", "gen_ai.output.messages")}


def test_a_failure_that_leaves_a_span_is_named_by_how_it_ended() -> None:
    recorded = Recorded()
    with recorded.tracing.event(record()) as trace, pytest.raises(CheckFailed), trace.chat("judge", 1):
        raise CheckFailed(Outcome.UNPARSABLE, "guard_llm", "the answer was cut off")
    assert (recorded.named("chat judge").attributes or {})["error.type"] == "unparsable"


def test_events_that_share_an_event_loop_do_not_mix() -> None:
    recorded = Recorded()

    async def one(number: int) -> tuple[str, str]:
        upstream = f"00-{number:032x}-{number:016x}-01".encode()
        with recorded.tracing.event(record((("traceparent", upstream),))) as trace:
            await asyncio.sleep(0)
            with trace.guard_output():
                await asyncio.gather(*(check(trace, name) for name in ("classification", "bias")))
            with trace.send("conversations.audited") as sent:
                await asyncio.sleep(0)
                return trace.trace_id, sent.headers["traceparent"][3:35]

    async def check(trace: EventTrace, name: str) -> None:
        with trace.stage(name):
            await asyncio.sleep(0)
            with trace.chat("judge", 1):
                await asyncio.sleep(0)

    async def all_at_once() -> list[tuple[str, str]]:
        return await asyncio.gather(*(one(number) for number in range(1, 21)))

    assert asyncio.run(all_at_once()) == [(f"{number:032x}", f"{number:032x}") for number in range(1, 21)]
    by_id = {span_id_of(span): span for span in recorded.spans}
    for span in recorded.spans:
        if span.name == "chat judge":
            assert by_id[parent_of(span)].name in {"classification", "bias"}
        elif not span.name.startswith("process"):
            assert by_id[parent_of(span)].name == "process conversations.events"


def test_a_commit_is_linked_to_its_events_up_to_a_bound_that_is_said() -> None:
    recorded = Recorded()
    count = LINKS_MAX + 5
    results = [
        Result(
            topic="conversations.events",
            partition=0,
            offset=index,
            records=(OutRecord(topic="out", key=None, value=b"", headers=(("traceparent", TRACEPARENT),)),),
        )
        for index in range(count)
    ]
    with recorded.tracing.commit("conversations.events", results):
        pass
    commit = recorded.named("commit conversations.events")
    assert commit.kind is SpanKind.CLIENT
    assert commit.parent is None
    assert len(commit.links) == LINKS_MAX
    assert (commit.attributes or {})["sluicegate.links.cut"] == 5
    assert (commit.attributes or {})["messaging.batch.message_count"] == count


def test_without_tracing_a_records_own_context_is_passed_on_unchanged() -> None:
    with Tracing.none().event(record((("traceparent", TRACEPARENT), ("tracestate", b"a=b")))) as trace:
        headers = walk(trace)
        assert trace.trace_id == TRACE_ID
    assert headers == {"traceparent": TRACEPARENT.decode(), "tracestate": "a=b"}
    with Tracing.none().event(record(())) as trace:
        assert (walk(trace), trace.trace_id) == ({}, "")
