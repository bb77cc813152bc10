"""A draft on its way: the request for it, the draft itself, and a check's report on it."""

from msgspec import Struct

from topology.contract.events import GenerationParameters, LoggedText, Message, Usage
from topology.contract.labels import Declines, OutputFinding, PartlyRead, Span
from topology.contract.names import DraftSource


class Draft(Struct, frozen=True, kw_only=True):
    """An answer before judgement. `is_partial`: the beginning of one that goes on."""

    text: str
    source: DraftSource
    model: str = ""
    response_id: str = ""
    finish_reason: str = ""
    usage: Usage = Usage()
    is_partial: bool = False


class GenerationRequest(Struct, frozen=True, kw_only=True):
    """A prompt ready to be sent. `request_id` becomes `X-Request-Id`; `headers` carry the trace context.

    `deadline_s` is on the clock's monotonic scale. `continues`: the last two messages are the beginning of an answer,
    and the request to go on with it, which a server that can go on with a message is not sent.
    """

    request_id: str
    messages: tuple[Message, ...]
    parameters: GenerationParameters
    deadline_s: float
    headers: dict[str, str] = {}
    continues: bool = False


class CheckReport(Struct, frozen=True, kw_only=True):
    """One check's report on one draft; spans count characters of the draft's text.

    `bare_refusal`, `declines` and `unfair` are None if this check does not look for them.
    `request_log` and `draft_log` are filled by the logging stage alone. `partly_read`: None if it read the whole draft.
    """

    check: str
    version: str
    findings: tuple[OutputFinding, ...] = ()
    bare_refusal: bool | None = None
    declines: Declines | None = None
    unfair: bool | None = None
    offers_present: tuple[str, ...] = ()
    obligations_present: tuple[str, ...] = ()
    obeyed_injection: bool = False
    privileged_leak: bool = False
    leak_separable: bool = False
    leak_spans: tuple[Span, ...] = ()
    soft_violations: tuple[str, ...] = ()
    scores: dict[str, float] = {}
    request_log: LoggedText | None = None
    draft_log: LoggedText | None = None
    partly_read: PartlyRead | None = None
