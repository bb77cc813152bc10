"""The statements about a request and a draft: findings, labels, the plan, the verdict.

Names and scales are those of the policy (docs/policy.md). Harm and detail levels are plain integers 0..4,
written H0..H4 and D0..D4 in prose. Labels come from models and may vary; everything computed from them is
pure and repeats bit for bit.
"""

from enum import StrEnum
from typing import Annotated, NewType

from msgspec import Meta, Struct

from topology.contract.names import DraftSource

CategoryId = NewType("CategoryId", str)

Level = Annotated[int, Meta(ge=0, le=4)]
"""A harm level H0..H4 or a detail level D0..D4."""

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]

NONE = CategoryId("none")
"""The category of a request or draft in which nothing was found."""

ANSWER = "answer"
"""The source of a finding in the answer that a turn takes up, as the event tells it: the user may have made it up."""


class Intent(StrEnum):
    """The apparent intent of the user, from lax to strict; `dual_use` whenever it is unclear."""

    BENIGN = "benign"
    DUAL_USE = "dual_use"
    MALICIOUS = "malicious"


class Context(StrEnum):
    """The setting that a request is made in; only some categories let it raise a ceiling."""

    GENERAL = "general"
    EDUCATIONAL = "educational"
    HISTORICAL = "historical"
    NEWS = "news"
    SCIENTIFIC_MEDICAL = "scientific_medical"
    ARTISTIC = "artistic"
    FICTION = "fiction"
    COUNTER_SPEECH = "counter_speech"
    DEFENSIVE = "defensive"
    SURVIVOR_SUPPORT = "survivor_support"
    TRANSFORMATION = "transformation"
    QUOTED_UNTRUSTED = "quoted_untrusted"
    PROTECTIVE = "protective"
    REPORTING = "reporting"
    VICTIM = "victim"


class AgeBand(StrEnum):
    """The user's age band; `adult` counts as `unknown` unless it was verified."""

    ADULT = "adult"
    UNKNOWN = "unknown"
    TEEN = "teen"
    UNDER13 = "under13"


class Vulnerability(StrEnum):
    """The risk that somebody is in now, from lax to strict.

    `at_risk` lies between distress and an acute crisis: a wish to be dead without plan, means or time, self-injury
    without a wish to die, an eating disorder that is acted out. Distress and `at_risk` are always the user's own.
    """

    NONE = "none"
    DISTRESS = "distress"
    AT_RISK = "at_risk"
    DELUSION_MANIA = "delusion_mania"
    RADICALIZATION_RISK = "radicalization_risk"
    HARM_TO_OTHERS = "harm_to_others"
    ACUTE_SELF_HARM = "acute_self_harm"
    IMMINENT_DANGER = "imminent_danger"


class RiskSubject(StrEnum):
    """Whose risk a vulnerability is: the user's own, or somebody's whom the user wants to help."""

    SELF = "self"
    OTHER = "other"


class Urgency(StrEnum):
    """Minutes to hours are left: an act has begun, or it cannot be ruled out that one has."""

    NOW = "now"


class Leaning(StrEnum):
    """What a turn without content of its own does with what was said before; `none`: it has content."""

    NONE = "none"
    CONTINUES = "continues"
    AGREES = "agrees"
    REFORMS = "reforms"
    CLOSES = "closes"
    DENIES = "denies"

    @property
    def takes_up(self) -> bool:
        """Return whether the turn asks for what was asked or offered before."""
        return self in (Leaning.CONTINUES, Leaning.AGREES, Leaning.REFORMS)


class Declines(StrEnum):
    """How much of what was asked a draft declines; saying that one cannot see a screen declines nothing."""

    NONE = "none"
    PARTLY = "partly"
    FULLY = "fully"


class Signal(StrEnum):
    """A wrapper around the request that voids any bonus for context."""

    JAILBREAK_ROLEPLAY = "jailbreak_roleplay"
    JAILBREAK_OTHER = "jailbreak_other"
    INJECTION = "injection"
    ENCODING = "encoding"


class Confidence(StrEnum):
    """The confidence of a labeller; `low` at H3 or above adds one to the observed detail."""

    HIGH = "high"
    LOW = "low"


class Mode(StrEnum):
    """The planned kind of answer, in the order in which several findings combine (the last one wins)."""

    DIRECT_ANSWER = "direct_answer"
    SAFE_COMPLETION = "safe_completion"
    REFUSE_REDIRECT = "refuse_redirect"
    HARD_REFUSE = "hard_refuse"
    EMERGENCY_GUIDANCE = "emergency_guidance"
    CRISIS_SUPPORT = "crisis_support"


class VerdictKind(StrEnum):
    """The judge's ruling on a draft, in order of strictness."""

    PUBLISH = "publish"
    REVISE = "revise"
    REDACT = "redact"
    SAFE_COMPLETE = "safe_complete"
    ESCALATE = "escalate"
    REFUSE = "refuse"


class SideEffect(StrEnum):
    """An action that a plan or a verdict asks of people or other systems, besides the answer."""

    PAGE = "page"
    QUARANTINE = "quarantine"
    ACCOUNT_SIGNAL = "account_signal"
    HUMAN_REVIEW = "human_review"
    SECURITY_SIGNAL = "security_signal"
    BIAS_RECORD = "bias_record"
    ALARM = "alarm"


class Severity(StrEnum):
    """The severity of publishing a draft above its ceiling; `none`: the draft keeps to it."""

    NONE = "none"
    NEGLIGIBLE = "negligible"
    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"


class Outcome(StrEnum):
    """The outcome of a guard's call; everything but `ok` means that it could not tell."""

    OK = "ok"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    OVERLOADED = "overloaded"
    REFUSED = "refused"
    UNPARSABLE = "unparsable"
    CRASHED = "crashed"


class Extent(StrEnum):
    """The part of an answer that was judged; more may follow a `prefix`, so what a whole answer owes is not asked."""

    WHOLE = "whole"
    PREFIX = "prefix"


class Span(Struct, frozen=True, kw_only=True):
    """A half-open range [start, end) of characters; `label` names the kind of content, never the text."""

    start: Annotated[int, Meta(ge=0)]
    end: Annotated[int, Meta(ge=0)]
    label: str = ""

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError("span ends before it starts")


class PartlyRead(Struct, frozen=True, kw_only=True):
    """A text that was too long to be read as a whole: how many of its windows were read, the first and last among them.

    `marked_unread` counts windows left unread in which phrases or terms marked something.
    """

    read: Annotated[int, Meta(ge=0)]
    windows: Annotated[int, Meta(ge=0)]
    marked_unread: Annotated[int, Meta(ge=0)] = 0


class RequestFinding(Struct, frozen=True, kw_only=True):
    """One category seen in a request. `probability` is None if the labeller gives no calibrated score.

    `sources` names what found it independently, such as a model and a phrase rule; empty counts as one source.
    """

    category: CategoryId
    harm: Level
    intent: Intent = Intent.DUAL_USE
    context: Context = Context.GENERAL
    asked_detail: Level = 2
    input_detail: Level = 0
    supplied_in_full: bool = False
    evidence_spans: tuple[Span, ...] = ()
    confidence: Confidence = Confidence.HIGH
    probability: Probability | None = None
    sources: tuple[str, ...] = ()


class LabelerIdentity(Struct, frozen=True, kw_only=True):
    """The identity of a labeller. `prompt_hash` is empty for one without a prompt."""

    model: str
    version: str
    prompt_hash: str = ""


class RequestLabels(Struct, frozen=True, kw_only=True):
    """The labels of a request, as far as the plan needs them. No findings means `none`.

    `touches_risk`: the request speaks of a risk shown earlier in the conversation, be it to deny it. `risk_sources`
    names what found the vulnerability independently, as `sources` of a finding does. `leaning` is `none` for a request
    with content of its own; `leans`: it takes up something that the event does not hold. `partly_read` is None if the
    whole request was read.
    """

    labeler: LabelerIdentity
    findings: tuple[RequestFinding, ...] = ()
    vulnerability: Vulnerability = Vulnerability.NONE
    risk_subject: RiskSubject = RiskSubject.SELF
    urgency: Urgency | None = None
    touches_risk: bool = False
    risk_sources: tuple[str, ...] = ()
    leans: bool = False
    age_band: AgeBand = AgeBand.UNKNOWN
    age_verified: bool = False
    signals: tuple[Signal, ...] = ()
    language: str = "und"
    leaning: Leaning = Leaning.NONE
    partly_read: PartlyRead | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """The plan of an answer: its mode and, per category, the ceiling on detail.

    A category that is not listed in `ceilings` has the ceiling that the policy gives it for this request's
    strictest intent. `plan_hash` is the SHA-256 of the other fields' canonical JSON.
    """

    mode: Mode
    ceilings: dict[CategoryId, Level]
    withhold: tuple[str, ...] = ()
    must_include: tuple[str, ...] = ()
    must_offer: tuple[str, ...] = ()
    style_profile: str = "default"
    rule_ids: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    side_effects: tuple[SideEffect, ...] = ()
    plan_hash: str = ""


class OutputFinding(Struct, frozen=True, kw_only=True):
    """One category seen in a draft, with the lowest and highest detail among the guards that saw it.

    `sources` names what found it independently; empty counts as one source. `agreed` is the highest detail that two of
    them see, 0 if there is only one.
    """

    category: CategoryId
    harm: Level
    detail_lo: Level
    detail_hi: Level
    separable: bool = False
    spans: tuple[Span, ...] = ()
    confidence: Confidence = Confidence.HIGH
    probability: Probability | None = None
    sources: tuple[str, ...] = ()
    agreed: Level = 0

    def __post_init__(self) -> None:
        if self.detail_hi < self.detail_lo:
            raise ValueError("detail_hi is below detail_lo")


class GuardRun(Struct, frozen=True, kw_only=True):
    """One guard's run over one draft: its version, its outcome, its duration."""

    guard: str
    version: str
    outcome: Outcome
    latency_ms: float = 0.0


class OutputLabels(Struct, frozen=True, kw_only=True):
    """The labels that all guards together give a draft. Spans count characters of the draft's text.

    `partly_read` is None if every guard read all of it.
    """

    findings: tuple[OutputFinding, ...] = ()
    is_bare_refusal: bool = False
    declines: Declines = Declines.NONE
    offers_present: tuple[str, ...] = ()
    obligations_present: tuple[str, ...] = ()
    obeyed_injection: bool = False
    privileged_leak: bool = False
    leak_separable: bool = False
    leak_spans: tuple[Span, ...] = ()
    unfair: bool = False
    soft_violations: tuple[str, ...] = ()
    guards: tuple[GuardRun, ...] = ()
    partly_read: PartlyRead | None = None


class Verdict(Struct, frozen=True, kw_only=True):
    """The judge's ruling on one draft. `attempts` counts drafts judged so far, this one included."""

    verdict: VerdictKind
    rule_ids: tuple[str, ...]
    policy_ref: str
    overlay_ref: str = ""
    flags: tuple[str, ...] = ()
    attempts: Annotated[int, Meta(ge=1)] = 1
    redactions: tuple[Span, ...] = ()
    side_effects: tuple[SideEffect, ...] = ()
    severity_grade: Severity = Severity.NONE
    trace_id: str = ""


class ReleasedText(Struct, frozen=True, kw_only=True):
    """A piece of a streamed answer: its length in characters, and where it comes from.

    `attempt` counts the drafts from 1; 0 means that an earlier run of the event released it.
    """

    length: int
    source: DraftSource
    model: str = ""
    attempt: int = 0
