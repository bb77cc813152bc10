"""One event on its way: what is known of it so far, and what was decided.

A case only grows. Whatever ends it, a verdict, a deadline or a failure, the audit record is made from what it holds.
"""

from dataclasses import dataclass, field

from topology.errors import DeadLetter
from topology.events import Action, Attempt, ConversationEvent, GrantUse, LoggedText, Usage
from topology.labels import Plan, RequestLabels, SideEffect
from topology.overlays import TenantOverlay
from topology.policy import PolicyBundle
from topology.ports import Draft, Record
from topology.tracing import EventTrace


@dataclass(slots=True)
class Case:
    """What is known of one event. `labels` and `plan` are None until the request was assessed and planned."""

    record: Record
    event: ConversationEvent
    trace: EventTrace
    bundle: PolicyBundle
    overlay: TenantOverlay
    deadline_s: float
    grants: tuple[GrantUse, ...] = ()
    labels: RequestLabels | None = None
    plan: Plan | None = None
    request_log: LoggedText | None = None
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def granted(self) -> frozenset[str]:
        """Names of the grants that hold."""
        return frozenset(use.grant for use in self.grants if use.status == "used")

    @property
    def usage(self) -> Usage:
        """Tokens of all drafts so far."""
        return Usage(input_tokens=self.input_tokens, output_tokens=self.output_tokens)

    def spend(self, draft: Draft) -> None:
        """Count a draft's tokens."""
        self.input_tokens += draft.usage.input_tokens
        self.output_tokens += draft.usage.output_tokens


@dataclass(frozen=True, slots=True)
class Decision:
    """What leaves: the action, the text, why; and whether a person or the dead-letter topic gets something too."""

    action: Action
    text: str
    reason_codes: tuple[str, ...]
    side_effects: tuple[SideEffect, ...] = ()
    for_review: bool = False
    held_draft: LoggedText | None = None
    failure: DeadLetter | None = None
