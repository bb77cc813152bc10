"""Every span name and attribute, in one place.

Messaging: OpenTelemetry semantic conventions 1.45. Generation: the GenAI conventions 0.1.0, which are still in
development. `sluicegate.*` belongs to this project. Only the two content attributes hold user text.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from topology.contract.events import GenerationParameters
from topology.contract.labels import Verdict
from topology.contract.names import SERVICE, StageName
from topology.contract.records import Record

AttributeValue = str | int | float | bool | Sequence[str]
Attributes = dict[str, AttributeValue]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.45.0"


class Attribute(StrEnum):
    """Attribute keys."""

    MESSAGING_SYSTEM = "messaging.system"
    MESSAGING_OPERATION_NAME = "messaging.operation.name"
    MESSAGING_OPERATION_TYPE = "messaging.operation.type"
    MESSAGING_DESTINATION = "messaging.destination.name"
    MESSAGING_PARTITION = "messaging.destination.partition.id"
    MESSAGING_OFFSET = "messaging.kafka.offset"
    MESSAGING_GROUP = "messaging.consumer.group.name"
    MESSAGING_BATCH_COUNT = "messaging.batch.message_count"
    MESSAGING_MESSAGE_ID = "messaging.message.id"
    MESSAGING_CONVERSATION = "messaging.message.conversation_id"
    MESSAGING_BODY_SIZE = "messaging.message.body.size"
    MESSAGING_TOMBSTONE = "messaging.kafka.message.tombstone"

    GEN_AI_OPERATION = "gen_ai.operation.name"
    GEN_AI_PROVIDER = "gen_ai.provider.name"
    GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
    GEN_AI_CONVERSATION = "gen_ai.conversation.id"
    GEN_AI_STREAM = "gen_ai.request.stream"
    GEN_AI_TEMPERATURE = "gen_ai.request.temperature"
    GEN_AI_TOP_P = "gen_ai.request.top_p"
    GEN_AI_MAX_TOKENS = "gen_ai.request.max_tokens"
    GEN_AI_SEED = "gen_ai.request.seed"
    GEN_AI_RESPONSE_ID = "gen_ai.response.id"
    GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
    GEN_AI_FINISH_REASONS = "gen_ai.response.finish_reasons"
    GEN_AI_INPUT_TOKENS = "gen_ai.usage.input_tokens"
    GEN_AI_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
    GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages"
    GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages"
    GEN_AI_EVALUATION_NAME = "gen_ai.evaluation.name"
    GEN_AI_EVALUATION_SCORE = "gen_ai.evaluation.score.value"
    GUARDRAIL_COMPONENT = "gen_ai.guardrail.component.name"
    GUARDRAIL_POLICY = "gen_ai.guardrail.policy.id"
    GUARDRAIL_POLICY_VERSION = "gen_ai.guardrail.policy.version"
    GUARDRAIL_RULE = "gen_ai.guardrail.policy.rule.id"
    GUARDRAIL_RESULT = "gen_ai.guardrail.result.value"
    GUARDRAIL_RESULT_TYPE = "gen_ai.guardrail.result.type"
    GUARDRAIL_SOURCE = "gen_ai.guardrail.source"
    GUARDRAIL_CATEGORY = "gen_ai.guardrail.risk.category"
    OPENINFERENCE_KIND = "openinference.span.kind"

    SERVER_ADDRESS = "server.address"
    SERVER_PORT = "server.port"
    ERROR_TYPE = "error.type"

    ACTION = "sluicegate.action"
    ATTEMPT = "sluicegate.attempt"
    CATEGORY = "sluicegate.category"
    CHECK_VERSION = "sluicegate.check.version"
    DEAD_LETTER_REASON = "sluicegate.dead_letter.reason"
    FINDINGS = "sluicegate.findings.count"
    FLAGS = "sluicegate.flags"
    HARM = "sluicegate.harm"
    KEEP = "sluicegate.keep"
    """True on an event that a tail sampler must keep: anything but an answer that was published as drafted."""
    LABELER = "sluicegate.labeler"
    LATE = "sluicegate.late"
    """True on the one span that a flagged, unsampled event gets at its verdict."""
    LINKS_CUT = "sluicegate.links.cut"
    MODE = "sluicegate.mode"
    PLAN_HASH = "sluicegate.plan.hash"
    POLICY = "sluicegate.policy.ref"
    REASON_CODES = "sluicegate.reason_codes"
    REQUEST_ID = "sluicegate.request.id"
    ROLE = "sluicegate.role"
    RULE_IDS = "sluicegate.rule.ids"
    SEVERITY = "sluicegate.severity"
    STAGE = "sluicegate.stage"
    TENANT = "sluicegate.tenant.id"
    VERDICT = "sluicegate.verdict"
    VULNERABILITY = "sluicegate.vulnerability"


CONTENT_ATTRIBUTES: Final = frozenset({Attribute.GEN_AI_INPUT_MESSAGES, Attribute.GEN_AI_OUTPUT_MESSAGES})
"""The only attributes with user text; set where `telemetry.capture_content` is on."""

SYSTEM: Final = "kafka"
PROVIDER: Final = "vllm"
"""A value of this project, which the GenAI enumeration allows; `openai` would name the vendor, not the interface."""
CHAT: Final = "chat"
APPLY_GUARDRAIL: Final = "apply_guardrail"
"""The operation of a guard LLM's calls, with the opt-in; without it they are chats too."""
VERDICT_TYPE: Final = "sluicegate.verdict"
"""The name of this project's verdicts: what one of them means, no backend can infer from its value."""
DRAFT_SOURCE: Final = "output"
"""What the judge's guardrails look at: a draft."""
EVALUATION_EVENT: Final = "gen_ai.evaluation.result"
GUARDRAIL_EVENT: Final = "gen_ai.guardrail.result"
"""Proposed and not adopted: semantic-conventions-genai, pull request 427."""
EXPERIMENTAL_OPT_IN: Final = "gen_ai_latest_experimental"
"""The entry of `OTEL_SEMCONV_STABILITY_OPT_IN` for conventions that are not adopted yet."""
GUARD_INPUT: Final = "guard input"
GUARD_OUTPUT: Final = "guard output"

STAGE_SPANS: Final = frozenset({StageName.CLASSIFICATION, StageName.BIAS, StageName.LOGGING, StageName.GUARD_LLM})
"""The stages that have a span named after them. Decode and plan take microseconds: their outcome is on `process`."""


def openinference_kind(name: str) -> str:
    """Return the span's kind for a backend that knows OpenInference and not the GenAI conventions."""
    if name in STAGE_SPANS:
        return "EVALUATOR"
    if name in {GUARD_INPUT, GUARD_OUTPUT} or name.startswith(f"{APPLY_GUARDRAIL} "):
        return "GUARDRAIL"
    return "LLM" if name.startswith(f"{CHAT} ") else "CHAIN"


def process_name(topic: str) -> str:
    """Return the name of an event's span."""
    return f"process {topic}"


def send_name(topic: str) -> str:
    """Return the name of the span in which an event's records are made."""
    return f"send {topic}"


def commit_name(topic: str) -> str:
    """Return the name of a transaction's span."""
    return f"commit {topic}"


def chat_name(model: str, operation: str = CHAT) -> str:
    """Return the name of the span of a request to a language model."""
    return f"{operation} {model}"


class ChatTarget(Struct, frozen=True, kw_only=True):
    """The destination of a role's requests, as spans name it. `server_port` 0 means unknown."""

    model: str
    server_address: str = ""
    server_port: int = 0


def record_attributes(record: Record, group: str) -> Attributes:
    """Return the attributes of a record that are known before it is decoded."""
    known: Attributes = {
        Attribute.MESSAGING_SYSTEM: SYSTEM,
        Attribute.MESSAGING_OPERATION_NAME: "process",
        Attribute.MESSAGING_OPERATION_TYPE: "process",
        Attribute.MESSAGING_DESTINATION: record.topic,
        Attribute.MESSAGING_PARTITION: str(record.partition),
        Attribute.MESSAGING_OFFSET: record.offset,
        Attribute.MESSAGING_BODY_SIZE: len(record.value or b""),
    }
    if group:
        known[Attribute.MESSAGING_GROUP] = group
    if record.value is None:
        known[Attribute.MESSAGING_TOMBSTONE] = True
    return known


def chat_attributes(target: ChatTarget, parameters: GenerationParameters | None) -> Attributes:
    """Return the attributes of a request that are known before it is sent."""
    known: dict[str, AttributeValue | None] = {
        Attribute.GEN_AI_OPERATION: CHAT,
        Attribute.GEN_AI_PROVIDER: PROVIDER,
        Attribute.GEN_AI_REQUEST_MODEL: target.model,
        Attribute.GEN_AI_STREAM: True,
        Attribute.SERVER_ADDRESS: target.server_address or None,
        Attribute.SERVER_PORT: target.server_port or None,
    }
    if parameters is not None:
        known[Attribute.GEN_AI_TEMPERATURE] = parameters.temperature
        known[Attribute.GEN_AI_TOP_P] = parameters.top_p
        known[Attribute.GEN_AI_MAX_TOKENS] = parameters.max_tokens
        known[Attribute.GEN_AI_SEED] = parameters.seed
    return {name: value for name, value in known.items() if value is not None}


def guardrail_results(verdict: Verdict, category: str) -> list[Attributes]:
    """Return one result for each rule that led to the verdict; the proposal leaves the values to the project.

    `category` is the strictest one found in the event; empty: none is named.
    """
    policy, _, version = verdict.policy_ref.partition("@")
    known: Attributes = {
        Attribute.GUARDRAIL_COMPONENT: SERVICE,
        Attribute.GUARDRAIL_POLICY: policy,
        Attribute.GUARDRAIL_POLICY_VERSION: version,
        Attribute.GUARDRAIL_RESULT: verdict.verdict.value,
        Attribute.GUARDRAIL_RESULT_TYPE: VERDICT_TYPE,
        Attribute.GUARDRAIL_SOURCE: DRAFT_SOURCE,
    }
    if category:
        known[Attribute.GUARDRAIL_CATEGORY] = category
    return [{**known, Attribute.GUARDRAIL_RULE: rule} for rule in verdict.rule_ids]
