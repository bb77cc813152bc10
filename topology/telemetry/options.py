"""The tracing options that are fixed for a process: the maker of spans, and what spans may contain."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from msgspec import Struct
from opentelemetry.trace import Tracer

from topology.telemetry.span_names import ChatTarget

Relationship = Literal["parent", "link"]


class SpanStyle(Struct, frozen=True, kw_only=True):
    """The optional contents of spans.

    `content` turns a message into the text that spans may hold of it, for instance without personal data; None: spans
    hold no text. `with_guardrail_results` adds the proposed GenAI event to verdicts and names a guard LLM's
    calls `apply_guardrail`, `with_openinference` adds the span kinds of OpenInference.
    """

    content: Callable[[str], str] | None = None
    with_guardrail_results: bool = False
    with_openinference: bool = False


PLAIN: Final = SpanStyle()


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingOptions:
    """Options of `Tracing`. The sampler of `tracer` decides what is recorded.

    With `relationship` `parent`, the chat service's span becomes the parent of an event's span and is linked to it;
    with `link` it is only linked. `group` is the consumer group, `chats` the model that each role asks (`generator`,
    `judge`, `labeler`), `now_ns` the wall clock in nanoseconds.
    """

    tracer: Tracer
    relationship: Relationship = "parent"
    group: str = ""
    chats: Mapping[str, ChatTarget] = field(default_factory=dict[str, ChatTarget])
    style: SpanStyle = PLAIN
    now_ns: Callable[[], int] = time.time_ns
