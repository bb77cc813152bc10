"""Recomputation: plan, verdicts and action from an audit record alone, under any policy. Pure.

Under the policy and overlay that the record names, plan and verdicts are the recorded ones, bit for bit. Under another
policy the recorded drafts are judged as they are, although that policy's own prompts might have given other drafts.
"""

from collections.abc import Sequence

from msgspec import Struct

from topology.contract.errors import CheckFailed
from topology.contract.events import Action, Attempt, AuditRecord, UserContext
from topology.contract.labels import Extent, Plan, RequestLabels, Verdict, VerdictKind
from topology.contract.names import DraftSource
from topology.decision.judge import judge
from topology.decision.plan import plan as make_plan
from topology.decision.prefixes import labels_for
from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import TenantOverlay


class Recomputed(Struct, frozen=True, kw_only=True):
    """The decisions of a policy on a recorded event.

    `plan` is None if the request was not assessed, or if the policy does not know one of its categories. `verdicts`
    are on the recorded drafts, in order. `action` is None if the policy would have asked for a draft that was never
    made; it rests on the first `judged_count` of the drafts.
    """

    plan: Plan | None
    verdicts: tuple[Verdict, ...]
    action: Action | None
    judged_count: int


def recompute(record: AuditRecord, bundle: PolicyBundle, overlay: TenantOverlay) -> Recomputed:
    """Decide a recorded event again under `bundle`, with `overlay` for the tenant.

    A failure that was no verdict (a deadline, a model that was down) stands under any policy that reaches it.
    """
    if record.labels is None:
        return Recomputed(plan=None, verdicts=(), action=record.action, judged_count=0)
    user = UserContext(age_band=record.age_band, age_verified=record.age_verified)
    try:
        made = make_plan(
            bundle,
            record.labels,
            overlay=overlay,
            user=user,
            grants=_granted(record),
            state=record.state_before,
        )
    except CheckFailed:
        return Recomputed(plan=None, verdicts=(), action=Action.WITHHELD, judged_count=0)
    if record.plan is None:
        return Recomputed(plan=made, verdicts=(), action=None, judged_count=0)
    verdicts = _verdicts(record, record.labels, made, bundle, overlay, user)
    follow = _followed_as_streamed if _is_streamed(record) else _followed
    action, judged_count = follow(record, verdicts)
    return Recomputed(plan=made, verdicts=verdicts, action=action, judged_count=judged_count)


def is_by_verdict(record: AuditRecord) -> bool:
    """Return whether the record's action followed from its last verdict, not from a failure."""
    return bool(record.attempts) and record.reason_codes == record.attempts[-1].verdict.rule_ids


def _granted(record: AuditRecord) -> frozenset[str]:
    return frozenset([use.grant for use in record.grants if use.status == "used"])


def _verdicts(
    record: AuditRecord,
    labels: RequestLabels,
    made: Plan,
    bundle: PolicyBundle,
    overlay: TenantOverlay,
    user: UserContext,
) -> tuple[Verdict, ...]:
    verdicts: list[Verdict] = []
    grants, draft_count = _granted(record), 0
    for attempt in record.attempts:
        draft_count += attempt.source is not DraftSource.REDACTION
        verdict = judge(
            bundle,
            made,
            labels,
            labels_for(attempt.extent, attempt.labels, made),
            overlay=overlay,
            user=user,
            grants=grants,
            attempts=attempt.verdict.attempts if _is_streamed(record) else draft_count,
            revisions_max=record.revisions_max,
            # Every check that is required runs, and every run is recorded.
            required=frozenset([run.guard for run in attempt.labels.guards]),
            trace_id=record.trace_id,
            state=record.state_before,
        )
        verdicts.append(verdict)
    return tuple(verdicts)


def _is_streamed(record: AuditRecord) -> bool:
    """Return whether text of the answer left, or was judged to leave, before the answer was whole."""
    return bool(record.released) or any(attempt.extent is Extent.PREFIX for attempt in record.attempts)


def _followed(record: AuditRecord, verdicts: Sequence[Verdict]) -> tuple[Action | None, int]:
    """Return the action and the number of drafts it rests on: the path of `drafting.py` over recorded drafts."""
    attempts, action = record.attempts, Action.PUBLISHED
    index, draft_count = 0, 1
    while index < len(attempts):
        match verdicts[index].verdict:
            case VerdictKind.PUBLISH:
                return action, index + 1
            case VerdictKind.REFUSE:
                return Action.REFUSED, index + 1
            case VerdictKind.ESCALATE:
                return Action.WITHHELD, index + 1
            case VerdictKind.REDACT if action is not Action.REDACTED:
                if not _is_redacted_next(attempts, index, verdicts[index]):
                    return None, index + 1
                action, index = Action.REDACTED, index + 1
            case asked:
                if draft_count > record.revisions_max:
                    return Action.SAFE_COMPLETED, index + 1
                index, draft_count = _next_draft(attempts, index), draft_count + 1
                if asked is not VerdictKind.REVISE:
                    action = Action.SAFE_COMPLETED
                elif action is Action.REDACTED:
                    action = Action.PUBLISHED
    return (None if is_by_verdict(record) else record.action), len(attempts)


def _followed_as_streamed(record: AuditRecord, verdicts: Sequence[Verdict]) -> tuple[Action | None, int]:
    """Return the action where every verdict is the recorded one.

    What follows a verdict on a part of an answer depends on what had left, so that another verdict leads nowhere.
    """
    for index, (attempt, verdict) in enumerate(zip(record.attempts, verdicts, strict=True)):
        if attempt.verdict.verdict is not verdict.verdict:
            return None, index + 1
    return record.action, len(record.attempts)


def _is_redacted_next(attempts: Sequence[Attempt], index: int, verdict: Verdict) -> bool:
    """Return whether exactly the redaction that `verdict` asks for was made and judged."""
    is_followed = any(after.source is DraftSource.REDACTION for after in attempts[index + 1 : index + 2])
    return is_followed and attempts[index].verdict.redactions == verdict.redactions


def _next_draft(attempts: Sequence[Attempt], index: int) -> int:
    """Return the index of the next draft that is not a redaction; the number of attempts if there is none."""
    drafts = (at for at in range(index + 1, len(attempts)) if attempts[at].source is not DraftSource.REDACTION)
    return next(drafts, len(attempts))
