"""A worker process that counts its tenants' use: real pipeline, real broker, real sums, fakes for whoever answers.

    python -m tests.e2e.usage_worker <bootstrap> <group>

An answer takes a few milliseconds and five tokens. SIGTERM drains.
"""

import asyncio
import sys

from msgspec import structs

from serving.fakes import FAKE_LABELS, FakeCheck, FakeLabeler
from tests.e2e.state_worker import settings_of as remembering
from tests.e2e.state_worker import work
from tests.plugins.running_worker import logged
from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.events import Usage
from topology.contract.names import DraftSource
from topology.policy.budgets import Limit, TenantBudget, Window
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.ports import OnText
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.assembly import build_pipeline
from workers.process.clock import SystemClock
from workers.settings import Settings, TenantSettings
from workers.stream.conversation_states import open_states
from workers.stream.loop import Tenancy
from workers.stream.tenant_uses import open_uses

GENERATION_S = 0.03
TOKENS = Usage(input_tokens=3, output_tokens=2)
EVENTS_MAX = 60
TOKENS_MAX = 150
BUDGETS = {
    "counted": TenantBudget(tenant_id="counted", version="1.0.0"),
    "events": TenantBudget(tenant_id="events", version="1.0.0", limits=(Limit(window=Window.DAY, events=EVENTS_MAX),)),
    "tokens": TenantBudget(tenant_id="tokens", version="1.0.0", limits=(Limit(window=Window.DAY, tokens=TOKENS_MAX),)),
}


def settings_of(bootstrap: str, group: str) -> Settings:
    """Settings with topics that begin with the group's name."""
    settings = remembering(bootstrap, group)
    topics = structs.replace(settings.topics, usage=f"{group}.usage")
    return structs.replace(settings, topics=topics, tenants=TenantSettings(enabled=True))


class Generator:
    """Answers after a while."""

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        del request
        await asyncio.sleep(GENERATION_S)
        return Draft(text="A plain answer.", source=DraftSource.GENERATOR, usage=TOKENS)


def main(bootstrap: str, group: str) -> None:
    settings = settings_of(bootstrap, group)
    metrics, tracing, policies = Instruments.none(), Tracing.none(), Policies(packaged_bundle(), budgets=BUDGETS)
    checks = (FakeCheck("classification"), FakeCheck("bias"), FakeCheck("logging", logged))
    states, uses = open_states(settings, SystemClock(), metrics), open_uses(settings, SystemClock(), metrics)
    labeler = FakeLabeler(lambda _: FAKE_LABELS)
    pipeline = build_pipeline(settings, lambda: policies, labeler, Generator(), checks, tracing, metrics, states, uses)
    work(settings, pipeline, states, Tenancy(uses))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
