"""Logs: one JSON object per line, with the ids of the current event and without any user text.

Exceptions are logged as their types and stack positions, because their messages may quote the input that caused them.
The project's own errors never do (`topology.contract.errors`), so their messages are logged too, and so are the
system's words for an OSError with the file that it names. For the same reason
only the first line of other libraries' log messages is kept.
"""

import json
import logging
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, TextIO, cast

from topology.contract.errors import SluicegateError
from topology.contract.names import LOGGER
from topology.telemetry.event_trace import CURRENT_TRACE
from topology.telemetry.span_handles import CURRENT_SPAN

MESSAGE_CHARACTERS_MAX: Final = 1_000
EXTRA_CHARACTERS_MAX: Final = 256
NUMBERS_MAX: Final = 256
FRAMES_MAX: Final = 30
CAUSES_MAX: Final = 5
REPEAT_AFTER_S: Final = 60.0
REPEATED_MAX: Final = 256

LIBRARY_LEVELS: Final = {
    # kafka-python logs every reconnect at INFO and record contents at DEBUG.
    "kafka": logging.WARNING,
    # Its warnings name tasks that took a tenth of a second: a busy machine, and nothing to mend.
    "kafka.net.selector": logging.ERROR,
    "ray": logging.WARNING,
    # It announces at every start how a cluster is entered that listens on loopback alone.
    "ray._private.authentication": logging.ERROR,
    "aiohttp": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "urllib3": logging.ERROR,
    "presidio-analyzer": logging.ERROR,
    "opentelemetry": logging.WARNING,
    "asyncio": logging.WARNING,
    "grpc": logging.ERROR,
}
"""Lowest level of other libraries, whatever the project's is: at DEBUG several of them log the data they carry."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """The form of a record: one line of JSON with ts, level, logger, message, ids of the event, extras and error."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, without a line break."""
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        line.update(_correlation())
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in line:
                line[name] = _extra(value)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = error_summary(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def error_summary(error: BaseException) -> list[dict[str, object]]:
    """Return the error and its causes: type, stack positions, and the message if it cannot quote anybody.

    Those are a SluicegateError's, and what the system says of a file or a connection.
    """
    summary: list[dict[str, object]] = []
    current: BaseException | None = error
    while current is not None and len(summary) < CAUSES_MAX:
        item: dict[str, object] = {"type": type(current).__qualname__}
        if isinstance(current, SluicegateError):
            item["detail"] = str(current)[:MESSAGE_CHARACTERS_MAX]
        elif isinstance(current, OSError) and current.strerror:
            named = f"{current.filename}: " if isinstance(current.filename, str) else ""
            item["detail"] = (named + current.strerror)[:MESSAGE_CHARACTERS_MAX]
        item["stack"] = _positions(current.__traceback__)
        summary.append(item)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return summary


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Write every log of this process from `level` up to `stream` (None: standard output) as JSON.

    Uncaught exceptions of any thread are logged the same way. A further call replaces the earlier ones.
    """
    handler = _Handler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(_Repeats())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger(LOGGER).setLevel(level)
    for name, least in LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(least)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_thread


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the standard library's name
        """Report that a log was lost, without its content; the default would print the record's arguments."""
        sys.stderr.write(f'{{"level": "ERROR", "logger": "{record.name}", "message": "a log could not be written"}}\n')


class _Repeats(logging.Filter):
    """A filter that passes each library message once a minute; an exporter that is down would log every batch."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in LIBRARY_LEVELS:
            return True
        key = (record.name, record.msg)
        now_s = time.monotonic()
        if now_s - self._seen.get(key, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            return False
        if len(self._seen) >= REPEATED_MAX:
            self._seen.clear()
        self._seen[key] = now_s
        return True


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.name.partition(".")[0] != LOGGER:
        text = text.partition("\n")[0]
    return text[:MESSAGE_CHARACTERS_MAX]


def _correlation() -> dict[str, object]:
    """Return the ids of the event that this task processes; none outside of an event."""
    trace = CURRENT_TRACE.get()
    if trace is None:
        return {}
    span = CURRENT_SPAN.get()
    known = {
        "trace_id": trace.trace_id,
        "span_id": f"{span.get_span_context().span_id:016x}" if span is not None else trace.span_id,
        "event_id": trace.event_id,
        "conversation_hash": trace.conversation_hash,
        "policy_ref": trace.policy_ref,
    }
    return {name: value for name, value in known.items() if value}


def _extra(value: object) -> object:
    """Return numbers, booleans and short lists of numbers unchanged, and everything else as short text."""
    if isinstance(value, list) and len(value) <= NUMBERS_MAX:
        items = cast("list[object]", value)
        if all(isinstance(item, int | float) for item in items):
            return items
    return value if isinstance(value, int | float | None) else str(value)[:EXTRA_CHARACTERS_MAX]


def _positions(trace: TracebackType | None) -> list[str]:
    """Return the innermost frames as `file:line function`, without source text or values."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)][-FRAMES_MAX:]
    return [f"{code.co_filename}:{line} {code.co_qualname}" for code, line in frames]


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(LOGGER).critical("uncaught exception", exc_info=(kind, error, trace))


def _log_thread(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is not None and not isinstance(given.exc_value, SystemExit):
        logging.getLogger(LOGGER).critical(
            "uncaught exception in a thread", exc_info=(given.exc_type, given.exc_value, given.exc_traceback)
        )
