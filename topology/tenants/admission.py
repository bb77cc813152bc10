"""The admission of events to a partition, and the count of what they used, under one ownership. Pure.

An event is admitted if what was counted in a window, together with what is in flight, leaves room for it. What has been
counted runs ahead of the committed position, as results do, and is dropped with them; the next owner begins with the
sums that were committed together with its position. So a partition never answers more events than its part of a limit.
Tokens are known only afterwards: they exceed a limit by at most what was in flight.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from msgspec import structs

from topology.contract.records import PartitionId
from topology.contract.tenants import Charge, Counted, UsageRecord, Use
from topology.policy.budgets import OTHERS, Limit, TenantBudget, Window
from topology.tenants.windows import part_of, rolled, start_of, wait_ms

TENANTS_MAX = 10_000
"""The most tenants that one partition counts by name in a day; later ones are counted and limited together."""

CONCURRENCY_WAIT_MS = 1_000
"""The wait that a tenant is told whose events in flight are too many: how long they take is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The answer to one event. `retry_after_ms` None: it is admitted, and in flight until counted or released.

    `is_shadow_limited`: a budget that only counts would have refused it. `release` forgets an event that is in flight
    and will have no result; if it has been counted, that changes nothing.
    """

    retry_after_ms: int | None = None
    is_shadow_limited: bool = False
    release: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)


@dataclass(slots=True)
class _Tenant:
    """One tenant's sums, and the number of its events in flight."""

    record: UsageRecord
    in_flight_count: int = 0


class PartitionUse:
    """The use of one source partition, one of `partition_count`, by its tenants."""

    def __init__(self, partition: PartitionId, partition_count: int, *, tenants_max: int = TENANTS_MAX) -> None:
        self._topic, self._partition = partition
        self._partition_count = partition_count
        self._tenants_max = tenants_max
        self._tenants: dict[str, _Tenant] = {}
        self._in_flight: dict[int, _Tenant] = {}
        """The tenants of the events in flight, by offset."""

    def __len__(self) -> int:
        return len(self._tenants)

    @property
    def in_flight_count(self) -> int:
        """Return the number of events that were admitted, and neither counted nor released."""
        return len(self._in_flight)

    def restore(self, record: UsageRecord) -> None:
        """Take over a committed sum; of several days of a tenant, the latest counts."""
        held = self._tenants.get(record.tenant_id)
        if held is None or held.record.day_ms <= record.day_ms:
            self._tenants[record.tenant_id] = _Tenant(record)

    def admit(self, offset: int, tenant_id: str, budget: TenantBudget, now_ms: int) -> Admission:
        """Admit the event at `offset`, or say when to send it again."""
        tenant = self._tenant(tenant_id, now_ms)
        waits = list(self._exceeded(tenant, budget, now_ms))
        enforced = [waited_ms for waited_ms, is_shadow in waits if not is_shadow]
        if enforced:
            return Admission(retry_after_ms=max(enforced))
        self._in_flight[offset] = tenant
        tenant.in_flight_count += 1
        return Admission(is_shadow_limited=bool(waits), release=partial(self.release, offset))

    def release(self, offset: int) -> None:
        """Forget an event in flight that will have no result here."""
        tenant = self._in_flight.pop(offset, None)
        if tenant is not None:
            tenant.in_flight_count -= 1

    def count(self, offset: int, charge: Charge, now_ms: int) -> UsageRecord:
        """Count an answered event, and return its tenant's sum, which is to be committed with the answer or later."""
        self.release(offset)
        tenant = self._tenant(charge.tenant_id, now_ms)
        before, use = tenant.record, charge.use
        tenant.record = structs.replace(
            before,
            use=before.use + use,
            hour=_added(rolled(before.hour, Window.HOUR, now_ms), use),
            minute=_added(rolled(before.minute, Window.MINUTE, now_ms), use),
        )
        return tenant.record

    def _tenant(self, tenant_id: str, now_ms: int) -> _Tenant:
        """Return a tenant with the sum of the present day; a day never ends early, whatever the clock does."""
        if tenant_id not in self._tenants and len(self._tenants) >= self._tenants_max:
            self._drop_past(now_ms)
            if len(self._tenants) >= self._tenants_max:
                tenant_id = OTHERS
        day_ms = start_of(Window.DAY, now_ms)
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            tenant = self._tenants[tenant_id] = _Tenant(self._empty(tenant_id, day_ms))
        elif tenant.record.day_ms < day_ms:
            tenant.record = self._empty(tenant_id, day_ms)
        return tenant

    def _empty(self, tenant_id: str, day_ms: int) -> UsageRecord:
        return UsageRecord(tenant_id=tenant_id, topic=self._topic, partition=self._partition, day_ms=day_ms)

    def _drop_past(self, now_ms: int) -> None:
        """Drop tenants without an event today or in flight: their sums are complete."""
        day_ms = start_of(Window.DAY, now_ms)
        for tenant_id, tenant in list(self._tenants.items()):
            if tenant.record.day_ms < day_ms and not tenant.in_flight_count:
                del self._tenants[tenant_id]

    def _exceeded(self, tenant: _Tenant, budget: TenantBudget, now_ms: int) -> Iterator[tuple[int, bool]]:
        """Yield, for each limit without room for another event, the time to wait and whether it only counts."""
        for limit in budget.limits:
            counted = _counted(tenant.record, limit.window, now_ms)
            if self._is_used_up(limit, counted, tenant.in_flight_count):
                yield wait_ms(counted, limit.window, now_ms), limit.shadow
        most = budget.concurrency
        if most is not None and tenant.in_flight_count >= self._part(most.events):
            yield CONCURRENCY_WAIT_MS, most.shadow

    def _is_used_up(self, limit: Limit, counted: Counted, in_flight_count: int) -> bool:
        if limit.events is not None and counted.events + in_flight_count >= self._part(limit.events):
            return True
        return limit.tokens is not None and counted.tokens >= self._part(limit.tokens)

    def _part(self, amount: int) -> int:
        return part_of(amount, self._partition, self._partition_count)


def _counted(record: UsageRecord, window: Window, now_ms: int) -> Counted:
    match window:
        case Window.MINUTE:
            return rolled(record.minute, window, now_ms)
        case Window.HOUR:
            return rolled(record.hour, window, now_ms)
        case Window.DAY:
            return Counted(start_ms=record.day_ms, events=record.use.events, tokens=record.use.tokens)


def _added(counted: Counted, use: Use) -> Counted:
    return Counted(start_ms=counted.start_ms, events=counted.events + use.events, tokens=counted.tokens + use.tokens)
