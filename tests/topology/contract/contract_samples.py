"""One full and one minimal value of every struct that is a topic's value."""

from msgspec import Struct, structs

from topology.contract.conversation import (
    AskedFinding,
    CategoryMemory,
    ConversationState,
    RiskMemory,
    SeenEvent,
    Shown,
)
from topology.contract.events import (
    Action,
    Attempt,
    AuditedResponse,
    AuditRecord,
    Candidate,
    CodePart,
    ConversationEvent,
    GenerationParameters,
    Grant,
    GrantUse,
    ImagePart,
    LoggedText,
    Message,
    Position,
    ReviewItem,
    Role,
    TextPart,
    Usage,
    UserContext,
)
from topology.contract.labels import (
    AgeBand,
    CategoryId,
    Confidence,
    Context,
    GuardRun,
    Intent,
    LabelerIdentity,
    Mode,
    Outcome,
    OutputFinding,
    OutputLabels,
    Plan,
    RequestFinding,
    RequestLabels,
    Severity,
    SideEffect,
    Signal,
    Span,
    Verdict,
    VerdictKind,
    Vulnerability,
)
from topology.contract.names import DraftSource
from topology.contract.tenants import Counted, Spent, UsageRecord, Use

SPAN = Span(start=3, end=9, label="EMAIL_ADDRESS")
LOGGED = LoggedText(redacted="to <EMAIL_ADDRESS>", spans=(SPAN,), digest="hmac-sha256:k1:" + "0f" * 32)
USAGE = Usage(input_tokens=21, output_tokens=34)
GUARD = GuardRun(guard="classification", version="7", outcome=Outcome.TIMEOUT, latency_ms=12.5)
CYBER = CategoryId("cyber.offense")

EVENT_MINIMAL = ConversationEvent(
    event_id="evt-1",
    conversation_id="conv-1",
    tenant_id="acme",
    messages=(Message(role=Role.USER, parts=(TextPart(text="What is a hash?"),)),),
)

EVENT_FULL = ConversationEvent(
    event_id="evt-2",
    conversation_id="conv-2 \N{GRINNING FACE}",
    tenant_id="acme",
    messages=(
        Message(role=Role.SYSTEM, parts=(TextPart(text="Be brief."),)),
        Message(role=Role.DEVELOPER, parts=(TextPart(text="Answer in French."),)),
        Message(
            role=Role.USER,
            parts=(
                TextPart(text="Voil\u00e0 \u6f22\u5b57 \N{GRINNING FACE} \u0000 end"),
                ImagePart(reference="s3://bucket/a.png", media_type="image/png", sha256="ab" * 32),
                CodePart(code="print('x')", language="python"),
            ),
        ),
        Message(role=Role.ASSISTANT, parts=(TextPart(text="Oui"),)),
        Message(role=Role.TOOL, parts=(TextPart(text="{}"),)),
    ),
    candidate=Candidate(parts=(TextPart(text="Bonjour"),), model="m", response_id="r-1"),
    user=UserContext(
        subject="user-7",
        age_band=AgeBand.ADULT,
        age_verified=True,
        locale="fr-CA",
        region="CA",
        grants=(
            Grant(
                grant="cyber_authorized",
                tenant="acme",
                subject="user-7",
                not_before=1,
                not_after=253_402_300_799_999,
                key_id="platform",
                signature="c2ln",
            ),
        ),
    ),
    generation=GenerationParameters(
        temperature=0.25, top_p=0.5, max_tokens=256, seed=2**63 - 1, stop=("\n\n",), ignore_eos=True
    ),
    created_ms=1_750_000_000_000,
    deadline_ms=1_750_000_300_000,
)

SHOWN = Shown(turn=6, at_ms=1_767_225_500_000)
LABELS = RequestLabels(
    labeler=LabelerIdentity(model="embedded", version="3", prompt_hash="aa"),
    findings=(
        RequestFinding(
            category=CYBER,
            harm=3,
            intent=Intent.MALICIOUS,
            context=Context.FICTION,
            asked_detail=4,
            input_detail=1,
            supplied_in_full=True,
            evidence_spans=(SPAN,),
            confidence=Confidence.LOW,
            probability=0.75,
        ),
    ),
    vulnerability=Vulnerability.DISTRESS,
    age_band=AgeBand.TEEN,
    age_verified=True,
    signals=(Signal.ENCODING,),
    language="fr",
)
PLAN = Plan(
    mode=Mode.REFUSE_REDIRECT,
    ceilings={CYBER: 1},
    withhold=("payload",),
    must_include=("legal_notice",),
    must_offer=("patching",),
    style_profile="warm",
    rule_ids=("P1",),
    reasons=("restricted",),
    side_effects=(SideEffect.ACCOUNT_SIGNAL,),
    plan_hash="bb",
)
OUTPUT = OutputLabels(
    findings=(
        OutputFinding(
            category=CYBER,
            harm=3,
            detail_lo=1,
            detail_hi=3,
            separable=True,
            spans=(SPAN,),
            confidence=Confidence.LOW,
            probability=1.0,
        ),
    ),
    is_bare_refusal=True,
    offers_present=("patching",),
    obligations_present=("legal_notice",),
    obeyed_injection=True,
    privileged_leak=True,
    leak_separable=True,
    leak_spans=(SPAN,),
    unfair=True,
    soft_violations=("style",),
    guards=(GUARD,),
)


def verdict(kind: VerdictKind) -> Verdict:
    return Verdict(verdict=kind, rule_ids=("V99",), policy_ref="core@1#cc")


ATTEMPT = Attempt(
    source=DraftSource.GENERATOR,
    draft=LOGGED,
    labels=OUTPUT,
    verdict=Verdict(
        verdict=VerdictKind.ESCALATE,
        rule_ids=("V05",),
        policy_ref="core@1#cc",
        overlay_ref="acme@2#dd",
        flags=("over_refusal",),
        attempts=2,
        redactions=(SPAN,),
        side_effects=(SideEffect.HUMAN_REVIEW,),
        severity_grade=Severity.HIGH,
        trace_id="0af7651916cd43dd8448eb211c80319c",
    ),
    model="m",
    response_id="r-2",
    usage=USAGE,
)

RESPONSE_FULL = AuditedResponse(
    event_id="evt-2",
    conversation_id="conv-2",
    tenant_id="acme",
    action=Action.WITHHELD,
    mode=Mode.CRISIS_SUPPORT,
    parts=(TextPart(text="Later."), CodePart(code="x"), ImagePart(reference="r")),
    reason_codes=("V05",),
    policy_ref="core@1#cc",
    audit_id="7b0e3c1a-0000-8000-8000-000000000000",
    usage=USAGE,
)
RESPONSE_CUT_OFF = structs.replace(
    RESPONSE_FULL, reason_codes=("V99", "truncated"), finish_reason="length", retry_after_ms=1500
)
RESPONSE_MINIMAL = AuditedResponse(
    event_id="evt-1",
    conversation_id="conv-1",
    tenant_id="acme",
    action=Action.PUBLISHED,
    mode=Mode.DIRECT_ANSWER,
    parts=(),
    reason_codes=(),
    policy_ref="core@1#cc",
    audit_id="a",
)

POSITION = Position(topic="conversations.events", partition=3, offset=2**40, timestamp_ms=1_750_000_000_001)

AUDIT_FULL = AuditRecord(
    audit_id="7b0e3c1a-0000-8000-8000-000000000000",
    event_id="evt-2",
    conversation_id="conv-2",
    tenant_id="acme",
    position=POSITION,
    policy_ref="core@1#cc",
    overlay_ref="acme@2#dd",
    action=Action.WITHHELD,
    reason_codes=("V05",),
    labels=LABELS,
    plan=PLAN,
    request=LOGGED,
    attempts=(ATTEMPT,),
    response_digest="hmac-sha256:k1:" + "f0" * 32,
    grants=(GrantUse(grant="cyber_authorized", key_id="platform", status="used"),),
    guards=(GUARD,),
    side_effects=(SideEffect.HUMAN_REVIEW,),
    usage=USAGE,
    trace_id="0af7651916cd43dd8448eb211c80319c",
    state_before=ConversationState(turns=1),
    state_after=ConversationState(turns=2),
    age_band=AgeBand.ADULT,
    age_verified=True,
    revisions_max=2,
)
AUDIT_CUT_OFF = structs.replace(AUDIT_FULL, finish_reason="length", retry_after_ms=1500)
AUDIT_MINIMAL = AuditRecord(
    audit_id="a",
    event_id="evt-1",
    conversation_id="conv-1",
    tenant_id="acme",
    position=POSITION,
    policy_ref="core@1#cc",
    overlay_ref="",
    action=Action.WITHHELD,
    reason_codes=(),
    labels=None,
    plan=None,
    request=None,
    attempts=(),
    response_digest="",
)

REVIEW_FULL = ReviewItem(
    audit_id="a",
    event_id="evt-2",
    conversation_id="conv-2",
    tenant_id="acme",
    reason_codes=("V05",),
    side_effects=(SideEffect.HUMAN_REVIEW, SideEffect.ALARM),
    draft=LOGGED,
    policy_ref="core@1#cc",
)
REVIEW_MINIMAL = ReviewItem(
    audit_id="a",
    event_id="evt-1",
    conversation_id="conv-1",
    tenant_id="acme",
    reason_codes=(),
    side_effects=(),
    draft=None,
    policy_ref="",
)

STATE_FULL = ConversationState(
    tenant_id="acme",
    turns=7,
    updated_ms=1_767_225_600_000,
    categories={
        CategoryId("weapons.conventional"): CategoryMemory(
            released=1, at_ceiling_count=2, spent=1, harm=3, intent=Intent.DUAL_USE, shown=SHOWN
        )
    },
    shown_signals={Signal.JAILBREAK_ROLEPLAY: SHOWN},
    risk=RiskMemory(vulnerability=Vulnerability.ACUTE_SELF_HARM, shown=SHOWN, has_begun=True),
    line_answers=2,
    owes_line=True,
    asked=(AskedFinding(category=CategoryId("weapons.conventional"), harm=3, intent=Intent.DUAL_USE, asked_detail=2),),
    age_band=AgeBand.TEEN,
    events=(SeenEvent(event_id="evt-1", audit_id="a"),),
)

USAGE_FULL = UsageRecord(
    tenant_id="acme",
    topic="conversations.events",
    partition=3,
    day_ms=1_767_225_600_000,
    use=Use(
        events=7,
        limited=2,
        repeated=1,
        shadow_limited=3,
        generation=Spent(calls=6, input_tokens=900, output_tokens=300),
        regeneration=Spent(calls=2, input_tokens=350, output_tokens=90),
        guards=Spent(calls=31),
    ),
    hour=Counted(start_ms=1_767_261_600_000, events=4, tokens=800),
    minute=Counted(start_ms=1_767_262_200_000, events=1, tokens=200),
)

SAMPLES: dict[str, Struct] = {
    "conversation-event.full": EVENT_FULL,
    "conversation-event.minimal": EVENT_MINIMAL,
    "audited-response.full": RESPONSE_FULL,
    "audited-response.minimal": RESPONSE_MINIMAL,
    "audited-response.cut-off": RESPONSE_CUT_OFF,
    "audit-record.full": AUDIT_FULL,
    "audit-record.minimal": AUDIT_MINIMAL,
    "audit-record.cut-off": AUDIT_CUT_OFF,
    "review-item.full": REVIEW_FULL,
    "review-item.minimal": REVIEW_MINIMAL,
    "conversation-state.full": STATE_FULL,
    "conversation-state.minimal": ConversationState(),
    "usage-record.full": USAGE_FULL,
    "usage-record.minimal": UsageRecord(tenant_id="acme", topic="in", partition=0, day_ms=0),
}
