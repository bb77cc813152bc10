"""The trace of one event, from the chat service to the model's server, chosen among those that arrived."""

import time

from topology.contract.events import AuditRecord
from topology.contract.names import DraftSource
from workers.commands.demo.rounds import Model
from workers.development.otlp_receiver import OtlpReceiver

POLL_S = 0.2

SPANS_WAIT_S = 15.0
"""The longest wait for the last spans: vLLM and the workers export in batches."""

WHOLE_TRACE = ("send conversations.events", "process conversations.events", "chat ", "audited")
"""The spans of a whole trace; vLLM's own is added where it answered."""

VLLM_SPAN = "llm_request"

VLLM_MODELS = frozenset(model.value for model in Model if model.is_vllm)


def whole_trace(receiver: OtlpReceiver, audits: list[AuditRecord]) -> tuple[AuditRecord | None, str]:
    """Return an event and its trace, from sender to model server; if none is whole after a bounded wait, a partial one.

    Events that vLLM answered come first, and among them those with two drafts. The spans of a killed worker are lost.
    """
    drafted = [audit for audit in audits if audit.attempts and audit.attempts[0].source is DraftSource.GENERATOR]
    drafted.sort(key=lambda audit: (audit.attempts[0].model not in VLLM_MODELS, abs(len(audit.attempts) - 2)))
    deadline_s = time.monotonic() + SPANS_WAIT_S
    while drafted:
        for audit in drafted:
            tree = receiver.tree(audit.trace_id)
            expected = (*WHOLE_TRACE, VLLM_SPAN) if audit.attempts[0].model in VLLM_MODELS else WHOLE_TRACE
            if all(name in tree for name in expected):
                return audit, tree
        if time.monotonic() >= deadline_s:
            return drafted[0], receiver.tree(drafted[0].trace_id)
        time.sleep(POLL_S)
    return None, ""
