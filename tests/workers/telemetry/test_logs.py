"""Logs: one JSON object a line, ids of the event at hand, nothing that quotes a user."""

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.names import LOGGER
from topology.contract.records import Record
from topology.telemetry.options import TracingOptions
from topology.telemetry.span_names import GUARD_INPUT
from topology.telemetry.trace_context import conversation_hash
from topology.telemetry.tracing import Tracing
from workers.telemetry.logs import FRAMES_MAX, configure_logging, error_summary

PLANTED = "Zebulon Quartermain, 12 Elm Street"
Line = dict[str, Any]


class Captured:
    """What was logged so far."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def lines(self) -> list[Line]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def captured() -> Iterator[Captured]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    captured = Captured()
    configure_logging("INFO", captured.stream)
    yield captured
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    logging.getLogger(LOGGER).setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)


logger = logging.getLogger("sluicegate.test")


def record() -> Record:
    return Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=b"c", value=b"v")


def conversation(event_id: str) -> ConversationEvent:
    message = Message(role=Role.USER, parts=(TextPart(text=PLANTED),))
    return ConversationEvent(event_id=event_id, conversation_id="c-1", tenant_id="t-1", messages=(message,))


def test_a_log_is_one_line_of_json_with_time_level_logger_and_message(captured: Captured) -> None:
    extra = {"held_count": 3, "reason": "x" * 1000, "is_late": True, "partitions": [0, 2], "words": ["a"]}
    logger.warning("two\nlines", extra=extra)
    (line,) = captured.lines
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "sluicegate.test", "two\nlines")
    assert line["ts"].endswith("+00:00")
    assert (line["held_count"], line["is_late"], len(line["reason"])) == (3, True, 256)
    assert (line["partitions"], line["words"]) == ([0, 2], "['a']")


def test_every_task_logs_the_ids_of_its_own_event(captured: Captured) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(TracingOptions(tracer=provider.get_tracer("test")))
    ids: dict[str, str] = {}

    async def one(event_id: str) -> None:
        with tracing.event(record()) as trace:
            trace.of_event(conversation(event_id), "p@1")
            ids[event_id] = trace.trace_id
            with trace.guard_input():
                await asyncio.sleep(0)
                logger.info("inside")

    async def together() -> None:
        await asyncio.gather(*(one(f"e-{number}") for number in range(5)))

    asyncio.run(together())
    logger.info("outside")
    *inside, outside = captured.lines
    assert {line["event_id"]: line["trace_id"] for line in inside} == ids
    assert {(line["trace_id"], line["span_id"]) for line in inside} == {
        (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
        for span in exporter.get_finished_spans()
        if span.name == GUARD_INPUT and span.context
    }
    assert {(line["conversation_hash"], line["policy_ref"]) for line in inside} == {(conversation_hash("c-1"), "p@1")}
    assert not {"trace_id", "event_id"} & set(outside)


def _fail(error: Exception) -> None:
    raise error


def test_an_exception_is_type_and_stack_without_its_message_and_its_causes_likewise(captured: Captured) -> None:
    try:
        try:
            _fail(KeyError(PLANTED))
        except KeyError as exc:
            raise ValueError(PLANTED) from exc
    except ValueError:
        logger.exception("processing failed")
    (line,) = captured.lines
    assert "Zebulon" not in captured.stream.getvalue()
    assert [cause["type"] for cause in line["error"]] == ["ValueError", "KeyError"]
    assert "test_logs.py" in line["error"][0]["stack"][0]


def test_our_own_errors_keep_their_detail(captured: Captured) -> None:
    try:
        _fail(DeadLetter(DeadLetterReason.TOO_DEEP, "decode", "65 levels, at most 64"))
    except DeadLetter:
        logger.exception("buried")
    assert captured.lines[0]["error"][0]["detail"] == "decode: too_deep: 65 levels, at most 64"


def test_a_deep_stack_is_cut(captured: Captured) -> None:
    def deeper(depth: int) -> None:
        if depth == 0:
            raise ValueError
        deeper(depth - 1)

    try:
        deeper(100)
    except ValueError:
        logger.exception("deep")
    assert len(captured.lines[0]["error"][0]["stack"]) == FRAMES_MAX


def test_a_task_that_nobody_awaited_does_not_quote_its_exception(captured: Captured) -> None:
    async def forget() -> None:
        async def fail() -> None:
            raise ValueError(PLANTED)

        task = asyncio.create_task(fail())
        await asyncio.sleep(0.01)
        del task

    asyncio.run(forget())
    assert captured.lines[0]["message"] == "Task exception was never retrieved"
    assert "Zebulon" not in captured.stream.getvalue()


def test_an_uncaught_exception_of_a_thread_is_logged_without_its_message(captured: Captured) -> None:
    def fail() -> None:
        raise ValueError(PLANTED)

    thread = threading.Thread(target=fail)
    hook = threading.excepthook
    thread.start()
    thread.join(5)
    assert threading.excepthook is hook
    assert captured.lines[-1]["level"] == "CRITICAL"
    assert captured.lines[-1]["error"][0]["type"] == "ValueError"
    assert "Zebulon" not in captured.stream.getvalue()


def test_other_libraries_are_quiet_even_where_ours_is_not(captured: Captured) -> None:
    configure_logging("DEBUG", captured.stream)
    logging.getLogger("kafka.consumer").info(PLANTED)
    logging.getLogger("ray").debug(PLANTED)
    logger.debug("ours")
    assert [line["message"] for line in captured.lines] == ["ours"]


def test_a_library_that_repeats_itself_is_logged_once_a_minute(captured: Captured) -> None:
    for code in range(10):
        logging.getLogger("opentelemetry.exporter").error("Failed to export, code %s", code)
        logger.error("ours")
    assert [line["logger"] for line in captured.lines].count("opentelemetry.exporter") == 1
    assert len(captured.lines) == 11


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def write(self, s: str, /) -> int:
        raise OSError("no space left")


@pytest.mark.usefixtures("captured")
def test_a_log_that_cannot_be_written_is_not_printed_with_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", Broken())
    logger.info("%s", PLANTED)
    printed = capsys.readouterr().err
    assert "a log could not be written" in printed
    assert "Zebulon" not in printed


def test_only_the_last_configuration_holds(captured: Captured) -> None:
    second = Captured()
    configure_logging("ERROR", second.stream)
    logger.warning("too mild")
    logger.error("once")
    assert [line["message"] for line in second.lines] == ["once"]
    assert not captured.lines


def test_what_the_system_says_of_a_file_is_logged_and_nothing_else_of_a_foreign_error() -> None:
    missing = FileNotFoundError(2, "No such file or directory", "/etc/sluicegate/ca.pem")
    (summary,) = error_summary(missing)
    assert summary["detail"] == "/etc/sluicegate/ca.pem: No such file or directory"
    (foreign,) = error_summary(ValueError(PLANTED))
    assert "detail" not in foreign
