"""The use of tenants, held in memory and written with every answer to the compacted usage topic.

A sum leaves in the transaction of the last event that it counts, so what was committed is exactly what was answered,
whatever was killed; the next owner of a partition goes on from there.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import structs

from topology.contract.codec import RecordLimits, encode, tenant_of
from topology.contract.headers import Wire, response_headers
from topology.contract.names import SchemaName
from topology.contract.records import OutRecord, PartitionId, Record, Result
from topology.contract.tenants import Share, UsageRecord
from topology.policy.budgets import TenantBudget
from topology.ports import Clock, TenantUses
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.tenants.admission import Admission, PartitionUse
from workers.kafka.errors import StatesUnreadable
from workers.policy.keeper import PolicyKeeper
from workers.settings import Settings
from workers.stream.restoring import Restoring, StateSource
from workers.stream.state_reader import StateReader

_RECORDS = msgspec.json.Decoder(UsageRecord)


class UsageSource(StateSource, Protocol):
    """A place that sums are read from, which knows how many partitions share a limit."""

    def partition_count(self) -> int:
        """Return the number of partitions. Raises StatesUnreadable."""
        ...


class TopicTenantUses(Restoring[PartitionUse], TenantUses):
    """The TenantUses port on a compacted topic."""

    def __init__(
        self, topic: str, source: UsageSource, *, tenants_max: int, clock: Clock, metrics: Instruments
    ) -> None:
        self._usage_source = source
        self._tenants_max = tenants_max
        super().__init__(topic, source, name="use of tenants", clock=clock, metrics=metrics)

    def admit(self, record: Record, tenant_id: str, budget: TenantBudget, now_ms: int) -> Admission:
        """See `TenantUses.admit`. Admitted if the partition is not owned: then the record is no longer live."""
        with self._lock:
            use = self._owned.get((record.topic, record.partition))
            return Admission() if use is None else use.admit(record.offset, tenant_id, budget, now_ms)

    def counted(self, result: Result) -> Result:
        """See `TenantUses.counted`."""
        if result.charge is None:
            return result
        now_ms = self._clock.now_ms()
        with self._lock:
            total = self._owned[result.topic, result.partition].count(result.offset, result.charge, now_ms)
        headers = response_headers(
            SchemaName.USAGE_RECORD,
            Wire.JSON,
            ce_id=f"{result.topic}/{result.partition}/{result.offset}/{SchemaName.USAGE_RECORD.value}",
            subject=total.tenant_id,
            time_ms=now_ms,
        )
        out = OutRecord(
            topic=self._topic, key=total.key, value=encode(total), headers=headers, partition=result.partition
        )
        return structs.replace(result, sums=(out,))

    def _empty(self, partition: PartitionId) -> PartitionUse:
        return PartitionUse(partition, self._usage_source.partition_count(), tenants_max=self._tenants_max)

    def _take(self, held: PartitionUse, record: Record) -> None:
        if record.value is None:
            return
        try:
            held.restore(_RECORDS.decode(record.value))
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise StatesUnreadable(f"offset {record.offset}: not a usage record ({type(exc).__name__})") from None

    def _show(self, owned: Sequence[PartitionUse], pending_count: int) -> None:
        self._metrics.gauge_set(Metric.TENANTS, sum(map(len, owned)))
        self._metrics.gauge_set(Metric.USAGE_RESTORES_PENDING, pending_count)


class Shares:
    """The share of a record's tenant under the budgets in force."""

    def __init__(self, settings: Settings, keeper: PolicyKeeper) -> None:
        limits = settings.limits
        self._limits = RecordLimits(event_bytes_max=limits.event_bytes_max, nesting_depth_max=limits.nesting_depth_max)
        self._keeper = keeper

    def of(self, record: Record) -> Share:
        """Return the share. A record that names no tenant has that of a tenant with an empty name."""
        tenant_id = tenant_of(record, self._limits)
        return self._keeper.current().budget_of(tenant_id).share_of(tenant_id)


def open_uses(settings: Settings, clock: Clock, metrics: Instruments) -> TopicTenantUses | None:
    """Return the use of tenants on the usage topic; None if settings switch it off."""
    if not settings.tenants.enabled:
        return None
    reader = StateReader(settings.kafka, settings.topics.usage, settings.state.restore_timeout_s)
    tenants_max = settings.tenants.tenants_max
    return TopicTenantUses(settings.topics.usage, reader, tenants_max=tenants_max, clock=clock, metrics=metrics)
