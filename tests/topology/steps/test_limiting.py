"""Events over their tenant's budget: answered at once, by nobody, and free to be sent again."""

import asyncio

import pytest
from msgspec.structs import replace

from serving.fakes import FakeConversationStates, FakeGenerator, FakeTenantUses, ManualClock
from tests.topology.steps.pipeline_world import BUNDLE, Bench, Ended, event, finding, finds, record_of
from topology.contract.events import Action, ImagePart, Message, Role
from topology.contract.records import Record
from topology.contract.tenants import Charge
from topology.policy.budgets import OTHERS, Limit, TenantBudget, Window
from topology.policy.in_force import Policies
from topology.telemetry.metrics import Metric

ONE_A_MINUTE = (Limit(window=Window.MINUTE, events=1),)


def policies(tenant_id: str = "t1", limits: tuple[Limit, ...] = ONE_A_MINUTE) -> Policies:
    return Policies(BUNDLE, budgets={tenant_id: TenantBudget(tenant_id=tenant_id, version="1.0.0", limits=limits)})


def turn(number: int, **changes: object) -> Record:
    return replace(record_of(event(event_id=f"e{number}", **changes)), offset=number)


def charged(charge: Charge | None) -> Charge:
    assert charge is not None
    return charge


def test_an_event_over_the_budget_is_answered_and_asks_nobody() -> None:
    bench = Bench(uses=FakeTenantUses(), policies=policies(), states=FakeConversationStates())
    assert Ended(bench.process(turn(1))).response.action is Action.PUBLISHED
    result = bench.process(turn(2))
    refused = Ended(result)
    assert (refused.response.action, refused.response.reason_codes) == (Action.WITHHELD, ("rate_limited",))
    assert refused.response.retry_after_ms == refused.audit.retry_after_ms
    assert 0 < refused.response.retry_after_ms <= 60_000
    assert (refused.audit.labels, refused.audit.attempts, refused.audit.guards, refused.review) == (None, (), (), [])
    assert len(bench.generator.calls) == 1
    assert len(result.records) == 2
    assert charged(result.charge).use.limited == 1
    assert bench.metrics.value(Metric.ACTIONS, action="withheld", reason="rate_limited") == 1
    assert bench.metrics.value(Metric.TENANT_EVENTS, budget="t1", outcome="limited") == 1


def test_answers_are_counted_by_tenant_where_the_platform_knows_it_and_else_together() -> None:
    bench = Bench(uses=FakeTenantUses(), policies=policies(), states=FakeConversationStates())
    bench.process(turn(1))
    bench.process(turn(2))
    bench.process(turn(3, tenant_id="anybody"))
    bench.process(turn(4, tenant_id="anybody else"))
    counted = {
        (labels["known_tenant"], labels["action"], labels["reason"]): value
        for labels, value in bench.metrics.series(Metric.TENANT_ACTIONS)
    }
    assert counted == {
        ("t1", "published", "verdict"): 1,
        ("t1", "withheld", "rate_limited"): 1,
        ("*", "published", "verdict"): 2,
    }


def test_the_same_event_is_answered_when_it_is_sent_again_later() -> None:
    clock = ManualClock()
    uses = FakeTenantUses()
    bench = Bench(uses=uses, policies=policies(), states=FakeConversationStates(), clock=clock)
    first = bench.process(turn(1))
    uses.use.count(1, charged(first.charge), clock.now_ms())
    refused = Ended(bench.process(turn(2)))
    clock.advance(refused.response.retry_after_ms / 1000)
    again = Ended(bench.process(replace(turn(2), offset=3)))
    assert (again.response.action, again.response.retry_after_ms) == (Action.PUBLISHED, 0)


def test_a_second_copy_is_not_limited_but_named_as_one() -> None:
    bench = Bench(uses=FakeTenantUses(), policies=policies(), states=FakeConversationStates())
    bench.process(turn(1))
    copy = bench.process(replace(turn(1), offset=2))
    assert Ended(copy).response.reason_codes == ("duplicate_event",)
    assert charged(copy.charge).use.repeated == 1


def test_images_alone_count_as_an_event_of_the_budget_and_a_second_copy_as_one() -> None:
    bench = Bench(uses=FakeTenantUses(), policies=policies(), states=FakeConversationStates())
    images = (Message(role=Role.USER, parts=(ImagePart(reference="https://example.org/cat.png"),)),)
    bench.process(turn(1))
    copy = Ended(bench.process(replace(turn(1, messages=images), offset=2)))
    assert copy.response.reason_codes == ("duplicate_event",)
    assert Ended(bench.process(turn(3, messages=images))).response.reason_codes == ("rate_limited",)
    assert Ended(Bench(uses=FakeTenantUses()).process(turn(3, messages=images))).response.reason_codes == (
        "only_images",
    )


def test_a_shadow_budget_only_counts() -> None:
    limits = (Limit(window=Window.MINUTE, events=0, shadow=True),)
    bench = Bench(uses=FakeTenantUses(), policies=policies(OTHERS, limits))
    result = bench.process(turn(1))
    assert Ended(result).response.action is Action.PUBLISHED
    assert charged(result.charge).use.shadow_limited == 1
    assert bench.metrics.value(Metric.TENANT_EVENTS, budget=OTHERS, outcome="shadow_limited") == 1


def test_the_charge_has_the_tokens_of_the_answer_by_stage() -> None:
    worse = finds(finding("weapons.conventional", 3, 4), once=True)
    result = Bench(uses=FakeTenantUses(), classification=worse).process(turn(1))
    usage, use = Ended(result).response.usage, charged(result.charge).use
    assert (use.events, use.generation.calls, use.regeneration.calls) == (1, 1, 1)
    assert use.tokens == usage.input_tokens + usage.output_tokens
    assert use.guards.calls == 7


def test_a_cancelled_event_is_no_longer_in_flight() -> None:
    uses = FakeTenantUses()
    bench = Bench(
        uses=uses, policies=policies(), generator=FakeGenerator(lambda _: "late", delay_s=60, clock=ManualClock())
    )

    async def cancelled() -> None:
        task = asyncio.create_task(bench.pipeline.process(turn(1)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert uses.use.in_flight_count == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not uses.use.in_flight_count
