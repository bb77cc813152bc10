"""All embedded guards of an event as deployed: what labels a request, plans it, and has its reply checked."""

import asyncio
from collections.abc import Callable

from topology.contract.drafts import Draft
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.names import DraftSource, StageName
from topology.decision.plan import plan
from topology.policy.loading import packaged_bundle
from topology.policy.overlays import STRICTEST
from topology.ports import CheckInput
from workers.settings import Settings
from workers.stages.building import build_stage
from workers.stages.embedded import embedded_labeler

Pair = tuple[str, str | None]
"""A request, and its reply if there is one."""


def whole_event(settings: Settings, runner: asyncio.Runner) -> Callable[[Pair], None]:
    """Return what labels a request, plans it, and has its reply checked by all three stages."""
    bundle = packaged_bundle()
    labeler = embedded_labeler(settings.guard, settings.limits.assess_timeout_s)
    stages = [build_stage(settings, name) for name in (StageName.CLASSIFICATION, StageName.BIAS, StageName.LOGGING)]

    def work(pair: Pair) -> None:
        request, reply = pair
        event = ConversationEvent(
            event_id="1",
            conversation_id="1",
            tenant_id="bench",
            messages=(Message(role=Role.USER, parts=(TextPart(text=request),)),),
            created_ms=1_790_000_000_000,
        )
        labels = runner.run(labeler.label(event, bundle))
        planned = plan(bundle, labels, overlay=STRICTEST, user=event.user, grants=frozenset())
        draft = Draft(text=reply or "", source=DraftSource.GENERATOR, model="bench")
        given = CheckInput(event=event, labels=labels, plan=planned, draft=draft, attempt=1, policy=bundle)
        for stage in stages:
            stage.run([given])

    return work
