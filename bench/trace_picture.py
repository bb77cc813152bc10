"""A picture of one trace as a tree over time, drawn from the answer of a tracing backend.

    python -m bench.trace_picture var/trace.json docs/images/trace.png

`tests/observability/test_phoenix.py` writes such a file: spans with name, ids, parent and times, as Phoenix's REST
interface returns them.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.pictures import COMPUTED, OTHER, OURS, drawing

MODEL_SPAN = "llm_request"
INDENT = "    "
DEPTH_MAX = 20
BAR = 0.62
SHARE_MIN = 0.004
"""Of the whole time: a shorter bar would not be seen."""


class SpanContext(Struct, frozen=True, kw_only=True):
    """The ids of a span."""

    trace_id: str
    span_id: str


class Span(Struct, frozen=True, kw_only=True):
    """The drawn properties of a span; `parent_id` is None for a root."""

    name: str
    context: SpanContext
    parent_id: str | None
    start_time: datetime
    end_time: datetime


def tree(spans: Sequence[Span]) -> Iterator[tuple[int, Span]]:
    """Return every span with its depth, parents before children, siblings by start."""
    known = {span.context.span_id for span in spans}
    ordered = sorted(spans, key=lambda span: span.start_time)

    def below(parent: str | None, depth: int) -> Iterator[tuple[int, Span]]:
        for span in ordered if depth < DEPTH_MAX else ():
            if (span.parent_id if span.parent_id in known else None) == parent:
                yield depth, span
                yield from below(span.context.span_id, depth + 1)

    return below(None, 0)


def draw(spans: Sequence[Span], path: Path) -> None:
    """Write the picture. Time begins with the first span's start; topics are shown without a test's prefix."""
    rows = list(tree(spans))
    began = min(span.start_time for span in spans)
    whole_ms = max(_ms(began, span.end_time) for span in spans)
    with drawing(path, 1, 0.6 + 0.3 * len(rows)) as axes:
        for row, (depth, span) in enumerate(rows):
            start_ms, took_ms = _ms(began, span.start_time), _ms(span.start_time, span.end_time)
            axes.barh(row, max(took_ms, whole_ms * SHARE_MIN), BAR, start_ms, color=_colour(depth, span))
            axes.text(start_ms + took_ms + whole_ms * 0.008, row, f"{took_ms:,.1f} ms", va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [INDENT * depth + _shown(span.name) for depth, span in rows])
        for label in axes.get_yticklabels():
            label.set_horizontalalignment("left")
        axes.tick_params(axis="y", length=0, pad=190)
        axes.invert_yaxis()
        axes.set_xlim(0, whole_ms * 1.12)
        axes.grid(visible=False, axis="y")
        axes.set_title(f"trace {spans[0].context.trace_id}")
        axes.set_xlabel("ms since the chat service began to send the event")


def _ms(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() * 1000


def _colour(depth: int, span: Span) -> str:
    if span.name == MODEL_SPAN:
        return OTHER
    return COMPUTED if depth == 0 else OURS


def _shown(name: str) -> str:
    """Return `send group-1.conversations.events` as `send conversations.events`."""
    operation, _, topic = name.partition(" ")
    return f"{operation} {topic[topic.find('conversations.') :]}" if "conversations." in topic else name


def main() -> None:
    """Read a trace and draw it."""
    given, path = (Path(argument) for argument in sys.argv[1:3])
    draw(msgspec.json.decode(given.read_bytes(), type=list[Span]), path)


if __name__ == "__main__":
    main()
