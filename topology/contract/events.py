"""The values that cross a topic: the conversation event, the audited response, the audit record, the review item.

Decoding validates; constructing does not, except for what `__post_init__` checks, which also runs on decode
and is reported with its path. New fields get a default and go last. Times are Unix epoch milliseconds.
"""

import math
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.labels import (
    AgeBand,
    CategoryId,
    Extent,
    GuardRun,
    Level,
    Mode,
    OutputLabels,
    Plan,
    ReleasedText,
    RequestLabels,
    SideEffect,
    Span,
    Verdict,
    VerdictKind,
)
from topology.contract.names import DraftSource, OnBlocked

ID_CHARACTERS_MAX = 128
MESSAGES_MAX = 256
PARTS_MAX = 64
GRANTS_MAX = 16
SHADOWS_MAX = 8
"""The most candidate policies judged beside the live one: each costs every event a plan and a verdict per draft."""
CHARACTERS_MAX = 400_000
"""The most characters of text and code in one event with its candidate: four times a 32k-token context."""

Id = Annotated[str, Meta(min_length=1, max_length=ID_CHARACTERS_MAX)]
Short = Annotated[str, Meta(max_length=256)]
EpochMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
"""Milliseconds since 1970-01-01 UTC, up to the end of the year 9999."""


class Role(StrEnum):
    """The speaker of a message. `assistant` and `tool` messages carry no authority."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Action(StrEnum):
    """The action taken on an event, as the reader of the response sees it; an unknown one is to be read as `withheld`.

    `rejected`: the record names its ids but is no valid event. It has no text, and nothing has judged it.
    """

    PUBLISHED = "published"
    REDACTED = "redacted"
    SAFE_COMPLETED = "safe_completed"
    REFUSED = "refused"
    WITHHELD = "withheld"
    REJECTED = "rejected"


class TextPart(Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Plain text."""

    text: str


class ImagePart(Struct, frozen=True, kw_only=True, tag_field="type", tag="image"):
    """A reference to an image; Sluicegate never fetches it. `sha256` is lower-case hex or empty."""

    reference: Annotated[str, Meta(min_length=1, max_length=2048)]
    media_type: Short = ""
    sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""


class CodePart(Struct, frozen=True, kw_only=True, tag_field="type", tag="code"):
    """Source code; `language` is empty where unknown."""

    code: str
    language: Annotated[str, Meta(max_length=64)] = ""


ContentPart = TextPart | ImagePart | CodePart
Parts = Annotated[tuple[ContentPart, ...], Meta(max_length=PARTS_MAX)]


class Message(Struct, frozen=True, kw_only=True):
    """One turn of the conversation."""

    role: Role
    parts: Annotated[tuple[ContentPart, ...], Meta(min_length=1, max_length=PARTS_MAX)]


class Candidate(Struct, frozen=True, kw_only=True):
    """An answer made upstream, to be judged instead of generating one.

    `on_blocked` None: as `policy.candidate_blocked` says. With `is_turn` false it is judged and no more: its
    conversation remembers that the event was answered, and nothing of what was said.
    """

    parts: Annotated[tuple[ContentPart, ...], Meta(min_length=1, max_length=PARTS_MAX)]
    model: Short = ""
    response_id: Short = ""
    on_blocked: OnBlocked | None = None
    is_turn: bool = True


class Grant(Struct, frozen=True, kw_only=True):
    """A platform-signed permission for one subject of one tenant.

    `signature` is the base64 Ed25519 signature of the line `sluicegate grant v1` and the other fields as JSON with
    sorted keys and no spaces. A grant that does not verify is treated as absent, and counted.
    """

    grant: Id
    tenant: Id
    subject: Id
    not_before: EpochMs
    not_after: EpochMs
    key_id: Id
    signature: Short


class Expectation(StrEnum):
    """The required end of a canary's candidate."""

    PUBLISHED = "published"
    HELD = "held"


class CanaryMark(Struct, frozen=True, kw_only=True):
    """The mark that makes an event of the reserved tenant a canary: its case, its required end, and the signature.

    `partition` is the one of the input topic in which it counts; None: in any, and in each of them once. `signature` is
    the base64 Ed25519 signature of the line `sluicegate canary v1` and the whole event with this field empty, and
    without a `partition` that is None.
    """

    case: Id
    expect: Expectation
    issued_ms: EpochMs
    key_id: Id
    signature: Short = ""
    partition: Annotated[int, Meta(ge=0)] | None = None


class UserContext(Struct, frozen=True, kw_only=True):
    """The user, as the chat service knows them. An unverified `adult` counts as `unknown`."""

    subject: Short = ""
    age_band: AgeBand = AgeBand.UNKNOWN
    age_verified: bool = False
    locale: Annotated[str, Meta(max_length=35)] = "en"
    region: Annotated[str, Meta(max_length=8)] = ""
    grants: Annotated[tuple[Grant, ...], Meta(max_length=GRANTS_MAX)] = ()


class GenerationParameters(Struct, frozen=True, kw_only=True):
    """The caller's parameters for the generator; None leaves the server's default."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=131_072)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    stop: Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=4)] = ()
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        for name, value in (("temperature", self.temperature), ("top_p", self.top_p)):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is not a finite number")


class ConversationEvent(Struct, frozen=True, kw_only=True):
    """One request for an answer, as a chat service puts it on `conversations.events`.

    After `deadline_ms` the event is answered `withheld`; None means the worker's default. `stream`: text that is
    judged may leave before the answer is whole.
    """

    event_id: Id
    conversation_id: Id
    tenant_id: Id
    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=MESSAGES_MAX)]
    candidate: Candidate | None = None
    user: UserContext = UserContext()
    generation: GenerationParameters = GenerationParameters()
    created_ms: EpochMs | None = None
    deadline_ms: EpochMs | None = None
    canary: CanaryMark | None = None
    stream: bool = False

    def __post_init__(self) -> None:
        count = sum([parts_length(message.parts) for message in self.messages])
        if self.candidate is not None:
            count += parts_length(self.candidate.parts)
        if count > CHARACTERS_MAX:
            raise ValueError(f"{count} characters of content, at most {CHARACTERS_MAX}")


class Usage(Struct, frozen=True, kw_only=True):
    """The tokens spent over all attempts of one event."""

    input_tokens: int = 0
    output_tokens: int = 0


class AuditedResponse(Struct, frozen=True, kw_only=True):
    """The answer to an event, on `conversations.audited`: exactly one for each decodable record.

    A record that names its ids, but is otherwise no valid event, is answered `rejected` with no parts; `detail` then
    has the path of the first fault and what is allowed there, and never anything of the value. It is empty otherwise.

    `duplicate_of` is the audit id of the event's first answer if this record was a second copy of it, else empty.
    `finish_reason` is why the model's last answer to the event ended, in its server's words, such as `stop` or
    `length`; empty if no model answered. `retry_after_ms` is the time after which the event may be sent again: it was
    withheld because its tenant is over a budget, or because the model's server asked to be left alone; else 0.
    `replaced`: it may not begin with the text that was streamed, and replaces that.
    """

    event_id: Id
    conversation_id: Id
    tenant_id: Id
    action: Action
    mode: Mode
    parts: tuple[ContentPart, ...]
    reason_codes: tuple[str, ...]
    policy_ref: str
    audit_id: str
    usage: Usage = Usage()
    duplicate_of: str = ""
    finish_reason: str = ""
    retry_after_ms: int = 0
    detail: str = ""
    replaced: bool = False


class LoggedText(Struct, frozen=True, kw_only=True):
    """The form in which the logging stage keeps a text: redacted, with the hidden spans and a keyed digest.

    `spans` count characters of the original text. `digest` is `hmac-sha256:<key id>:<hex>` of the original.
    """

    redacted: str
    spans: tuple[Span, ...]
    digest: str


class Attempt(Struct, frozen=True, kw_only=True):
    """One draft with its labels and its verdict; of a streamed answer also one that was stopped, as a prefix."""

    source: DraftSource
    draft: LoggedText | None
    labels: OutputLabels
    verdict: Verdict
    model: str = ""
    response_id: str = ""
    usage: Usage = Usage()
    extent: Extent = Extent.WHOLE


class GrantUse(Struct, frozen=True, kw_only=True):
    """The `status` of one grant: `used`, `expired`, `not_yet_valid`, `foreign`, `unknown_key`, `altered`, `undomained`.

    `undomained`: a known key signed it, in the form of versions before 0.2.
    """

    grant: str
    key_id: str
    status: str


class Position(Struct, frozen=True, kw_only=True):
    """The position of a record in its source topic; `timestamp_ms` is the broker's or the producer's time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class Shift(StrEnum):
    """The direction of change from one policy's decision to another's; `other`: both directions, or neither."""

    LOOSER = "looser"
    STRICTER = "stricter"
    OTHER = "other"


class ShadowDifference(Struct, frozen=True, kw_only=True):
    """A candidate policy's decision where it differs from the one taken, which the same audit record holds.

    `mode` is None if the candidate could not plan. `ceilings` holds those that differ. `attempt` is the first draft,
    counted from 1, that it judges differently, and `verdict` its verdict; 0 and None if it judges all drafts alike.
    `action` is None if it would have asked for a draft that was never made.
    """

    policy_ref: str
    shift: Shift
    mode: Mode | None
    ceilings: dict[CategoryId, Level] = {}
    attempt: int = 0
    verdict: VerdictKind | None = None
    action: Action | None = None


class AuditRecord(Struct, frozen=True, kw_only=True):
    """A record from which plan and verdict can be recomputed bit for bit, on `sluicegate.audit`; user text is redacted.

    `state_before` and `state_after` are the conversation's state before and after this turn; both are empty where no
    state is kept. `duplicate_of` is the audit id of the event's first answer if this was a second copy. `labels` and
    `plan` are None if the request could not be assessed. `age_band` and `age_verified` are the event's claims.
    `revisions_max` is the number of further drafts that were allowed; the verdict depends on it. `shadows` has an entry
    for each of the `shadow_count` candidate policies that would have decided differently. `prompt_hashes` identifies
    the prompt of a generator, and is empty if none was asked; a guard's prompt is identified by its labeller or by its
    run's version. `canary` is the case of a probe, and empty for any other event. `finish_reason`, `retry_after_ms`,
    `detail` and `replaced` are the response's. `released` are the pieces of a streamed answer, in order;
    `released_over`: a fault was found in text that had left.
    """

    audit_id: str
    event_id: Id
    conversation_id: Id
    tenant_id: Id
    position: Position
    policy_ref: str
    overlay_ref: str
    action: Action
    reason_codes: tuple[str, ...]
    labels: RequestLabels | None
    plan: Plan | None
    request: LoggedText | None
    attempts: tuple[Attempt, ...]
    response_digest: str
    grants: tuple[GrantUse, ...] = ()
    guards: tuple[GuardRun, ...] = ()
    side_effects: tuple[SideEffect, ...] = ()
    usage: Usage = Usage()
    trace_id: str = ""
    state_before: ConversationState = EMPTY
    state_after: ConversationState = EMPTY
    age_band: AgeBand = AgeBand.UNKNOWN
    age_verified: bool = False
    revisions_max: int = 0
    shadows: tuple[ShadowDifference, ...] = ()
    shadow_count: int = 0
    duplicate_of: str = ""
    prompt_hashes: dict[str, str] = {}
    canary: str = ""
    finish_reason: str = ""
    retry_after_ms: int = 0
    detail: str = ""
    replaced: bool = False
    released: tuple[ReleasedText, ...] = ()
    released_over: bool = False


class ReviewItem(Struct, frozen=True, kw_only=True):
    """An escalation for a person, on `sluicegate.review`; it holds the withheld draft in redacted form only."""

    audit_id: str
    event_id: Id
    conversation_id: Id
    tenant_id: Id
    reason_codes: tuple[str, ...]
    side_effects: tuple[SideEffect, ...]
    draft: LoggedText | None
    policy_ref: str


def part_text(part: ContentPart) -> str:
    """Return the readable content of a part; an image has none."""
    match part:
        case TextPart(text=text):
            return text
        case CodePart(code=code):
            return code
        case ImagePart():
            return ""


def parts_text(parts: tuple[ContentPart, ...]) -> str:
    """Return the parts' readable content, one paragraph a part."""
    return "\n\n".join([text for part in parts if (text := part_text(part))])


def parts_length(parts: tuple[ContentPart, ...]) -> int:
    """Count the characters of text and code in the parts."""
    return sum([len(part_text(part)) for part in parts])
