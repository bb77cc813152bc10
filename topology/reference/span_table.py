"""The meaning of every span attribute and the spans that carry it, as the table in `docs/telemetry.md` shows them."""

from typing import Final

from topology.telemetry.span_names import CONTENT_ATTRIBUTES, Attribute

_ALL: Final = "messaging spans"

MEANINGS: Final[dict[Attribute, tuple[str, str]]] = {
    Attribute.MESSAGING_SYSTEM: (_ALL, "`kafka`."),
    Attribute.MESSAGING_OPERATION_NAME: (_ALL, "`send`, `process` or `commit`."),
    Attribute.MESSAGING_OPERATION_TYPE: (_ALL, "`send`, `process` or `settle`."),
    Attribute.MESSAGING_DESTINATION: (_ALL, "The topic."),
    Attribute.MESSAGING_PARTITION: ("process", "The partition, as text."),
    Attribute.MESSAGING_OFFSET: ("process", "The record's offset."),
    Attribute.MESSAGING_GROUP: ("process, commit", "The consumer group."),
    Attribute.MESSAGING_BATCH_COUNT: ("commit", "Events of the transaction."),
    Attribute.MESSAGING_MESSAGE_ID: ("process, send", "The event's id."),
    Attribute.MESSAGING_CONVERSATION: ("process, send", "The conversation's id, hashed."),
    Attribute.MESSAGING_BODY_SIZE: ("process", "Bytes of the record's value."),
    Attribute.MESSAGING_TOMBSTONE: ("process", "True if the record has no value."),
    Attribute.GEN_AI_OPERATION: ("chat", "`chat`; with the opt-in `apply_guardrail` for a guard LLM."),
    Attribute.GEN_AI_PROVIDER: ("chat", "`vllm`."),
    Attribute.GEN_AI_REQUEST_MODEL: ("chat", "The model asked."),
    Attribute.GEN_AI_CONVERSATION: ("chat", "The conversation's id, hashed."),
    Attribute.GEN_AI_STREAM: ("chat", "True: answers are streamed."),
    Attribute.GEN_AI_TEMPERATURE: ("chat", "The event's parameter; absent if the event does not set it."),
    Attribute.GEN_AI_TOP_P: ("chat", "The event's parameter."),
    Attribute.GEN_AI_MAX_TOKENS: ("chat", "The event's parameter."),
    Attribute.GEN_AI_SEED: ("chat", "The event's parameter."),
    Attribute.GEN_AI_RESPONSE_ID: ("chat", "The answer's id, which contains the id of the request."),
    Attribute.GEN_AI_RESPONSE_MODEL: ("chat", "The model that answered."),
    Attribute.GEN_AI_FINISH_REASONS: ("chat", "Why the answer ended."),
    Attribute.GEN_AI_INPUT_TOKENS: ("chat", "Tokens of the prompt."),
    Attribute.GEN_AI_OUTPUT_TOKENS: ("chat", "Tokens of the answer."),
    Attribute.GEN_AI_INPUT_MESSAGES: ("chat", "The prompt, redacted; with `telemetry.capture_content`."),
    Attribute.GEN_AI_OUTPUT_MESSAGES: ("chat", "The answer, redacted; with `telemetry.capture_content`."),
    Attribute.GEN_AI_EVALUATION_NAME: ("event on guards", "The name of a score."),
    Attribute.GEN_AI_EVALUATION_SCORE: ("event on guards", "The score."),
    Attribute.GUARDRAIL_COMPONENT: ("event on guard output", "`sluicegate`; with the opt-in."),
    Attribute.GUARDRAIL_POLICY: ("event on guard output", "The policy's id; with the opt-in."),
    Attribute.GUARDRAIL_POLICY_VERSION: ("event on guard output", "Its version and digest; with the opt-in."),
    Attribute.GUARDRAIL_RULE: ("event on guard output", "One rule that led to the verdict; with the opt-in."),
    Attribute.GUARDRAIL_RESULT: ("event on guard output", "The verdict; with the opt-in."),
    Attribute.GUARDRAIL_RESULT_TYPE: ("event on guard output", "`sluicegate.verdict`; with the opt-in."),
    Attribute.GUARDRAIL_SOURCE: ("event on guard output", "`output`: a draft was judged; with the opt-in."),
    Attribute.GUARDRAIL_CATEGORY: ("event on guard output", "The strictest category found; with the opt-in."),
    Attribute.OPENINFERENCE_KIND: ("all but commit", "The span kind of OpenInference; with `telemetry.openinference`."),
    Attribute.SERVER_ADDRESS: ("chat", "The model's host."),
    Attribute.SERVER_PORT: ("chat", "The model's port."),
    Attribute.ERROR_TYPE: ("where something failed", "The outcome (`timeout` and the like), or an exception's class."),
    Attribute.ACTION: ("process, send", "The action taken on the event."),
    Attribute.ATTEMPT: ("process, chat, guard output", "The draft, counted from 1."),
    Attribute.CATEGORY: ("process, guards", "The strictest category found."),
    Attribute.CHECK_VERSION: ("guards", "Version of model and rules."),
    Attribute.DEAD_LETTER_REASON: ("process", "Why the record became a dead letter."),
    Attribute.FINDINGS: ("guards", "The number of findings."),
    Attribute.FLAGS: ("process, guard input", "The signs of an attack in the request."),
    Attribute.HARM: ("process, guard input", "Harm of the strictest category, 0 to 4."),
    Attribute.KEEP: ("process", "True for what a tail sampler must keep: anything but an answer published as drafted."),
    Attribute.LABELER: ("guard input", "The labeller, with its version."),
    Attribute.LATE: ("process", "True on the one span of a flagged event that sampling had left out."),
    Attribute.LINKS_CUT: ("commit", "The number of links beyond 128, which are left out."),
    Attribute.MODE: ("process", "The planned mode of the answer."),
    Attribute.PLAN_HASH: ("process", "The plan's hash, as in the audit record."),
    Attribute.POLICY: ("process, send", "The policy in force: id, version, digest."),
    Attribute.REASON_CODES: ("process", "The reasons for the action; at most 32."),
    Attribute.REQUEST_ID: ("chat", "`X-Request-Id`: event, role, attempt."),
    Attribute.ROLE: ("chat", "The role in which the model was asked."),
    Attribute.RULE_IDS: ("process, guard output", "Rules that led to the verdict; at most 32."),
    Attribute.SEVERITY: ("process, guard output", "Grade of the verdict."),
    Attribute.STAGE: ("guards", "The stage, as metrics name it."),
    Attribute.TENANT: ("process", "The tenant."),
    Attribute.VERDICT: ("process, guard output, send", "The judge's verdict on the draft."),
    Attribute.VULNERABILITY: ("process, guard input", "The risk that the user is in, by the request."),
}
"""For each attribute, the spans that carry it and its meaning."""


def attribute_table() -> str:
    """Return every attribute in a Markdown table, those with user text in bold."""
    rows = ["| attribute | on | says |", "|---|---|---|"]
    for attribute in Attribute:
        spans, says = MEANINGS[attribute]
        name = f"**`{attribute}`**" if attribute in CONTENT_ATTRIBUTES else f"`{attribute}`"
        rows.append(f"| {name} | {spans} | {says} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table."""
    print(attribute_table())


if __name__ == "__main__":
    main()
