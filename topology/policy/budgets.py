"""A tenant's budget: its limits in windows of time, its events in flight, and its share of what runs next."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from topology.contract.events import Id
from topology.contract.tenants import Priority, Share
from topology.policy.bundle import Version
from topology.policy.documents import digest, part, raise_all, read_document, without

OTHERS = "*"
"""The tenant id of the budget that holds for each tenant without one of its own."""

LIMITS_MAX = 6
"""The most limits in one budget: one that refuses and one that only counts, for each window."""

AMOUNT_MAX = 1_000_000_000_000
WEIGHT_MAX = 100

Amount = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]


class Window(StrEnum):
    """The length of a window; all windows are fixed, and begin with the minute, hour or day in UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class Limit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit on one window, over all partitions; None: no limit. A `shadow` counts what it would refuse, no more.

    Tokens are those of every draft. What an event will cost is not known when it is admitted, so events in flight may
    exceed a limit on tokens.
    """

    window: Window
    events: Amount | None = None
    tokens: Amount | None = None
    shadow: bool = False


class Concurrency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit on events in flight at once, over all partitions. A `shadow` counts what it would refuse, no more."""

    events: Amount
    shadow: bool = False


class TenantBudget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The budget of one tenant. `concurrency` None: no limit. `content_hash` is filled in by the loader."""

    tenant_id: Id
    version: Version
    limits: Annotated[tuple[Limit, ...], Meta(max_length=LIMITS_MAX)] = ()
    concurrency: Concurrency | None = None
    weight: Annotated[int, Meta(ge=1, le=WEIGHT_MAX)] = 1
    priority: Priority = Priority.STANDARD
    content_hash: str = ""

    @property
    def ref(self) -> str:
        """Return the budget's name in logs: `tenant_id@version#<first 12 hex digits of its hash>`."""
        return f"{self.tenant_id}@{self.version}#{self.content_hash[:12]}".removesuffix("#")

    def share_of(self, tenant_id: str) -> Share:
        """Return the share of a tenant that this budget holds for."""
        return Share(tenant_id=tenant_id, weight=self.weight, priority=self.priority)


UNLIMITED = TenantBudget(tenant_id=OTHERS, version="0.0.0")
"""The budget of a tenant for which there is none: it is counted, shares as any other, and is never refused."""


def load_budget(raw: bytes) -> TenantBudget:
    """Load the budget in a YAML or JSON document. Raises PolicyError with every reason."""
    document = read_document(raw, "budget")
    reasons: list[str] = []
    content_hash = digest(without(document, "content_hash"))
    if document.get("content_hash", "") not in {"", content_hash}:
        reasons.append("content_hash: does not match the content")
    budget = part("$", {**document, "content_hash": content_hash}, TenantBudget, reasons)
    if budget is not None:
        reasons.extend(_faults(budget))
    raise_all(reasons, "budget")
    assert budget is not None
    return budget


def _faults(budget: TenantBudget) -> Iterator[str]:
    seen: set[tuple[Window, bool]] = set()
    for index, limit in enumerate(budget.limits):
        if limit.events is None and limit.tokens is None:
            yield f"limits[{index}]: limits neither events nor tokens"
        if (limit.window, limit.shadow) in seen:
            kind = "shadow limit" if limit.shadow else "limit"
            yield f"limits[{index}]: a second {kind} on one {limit.window.value}; write one with both amounts"
        seen.add((limit.window, limit.shadow))
