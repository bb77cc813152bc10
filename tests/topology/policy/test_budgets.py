"""TenantBudget documents: what loads, and every reason against what does not."""

import pytest

from topology.contract.errors import PolicyError
from topology.contract.tenants import Priority, Share
from topology.policy.budgets import LIMITS_MAX, Limit, Window, load_budget

FULL = b"""
tenant_id: acme
version: 1.2.0
limits:
  - {window: minute, events: 600, tokens: 200000}
  - {window: day, tokens: 5000000, shadow: true}
concurrency: {events: 40}
weight: 4
priority: interactive
"""


def test_a_budget_loads_with_its_hash() -> None:
    budget = load_budget(FULL)
    assert budget.ref.startswith("acme@1.2.0#")
    assert budget.limits[0] == Limit(window=Window.MINUTE, events=600, tokens=200_000)
    assert budget.limits[1].shadow
    assert budget.share_of("acme") == Share(tenant_id="acme", weight=4, priority=Priority.INTERACTIVE)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"version: 1.0.0", "tenant_id"),
        (b"{tenant_id: a, version: 1.0.0, weight: 0}", "$.weight"),
        (b"{tenant_id: a, version: 1.0.0, weight: 101}", "$.weight"),
        (b"{tenant_id: a, version: 1.0.0, wieght: 1}", "wieght"),
        (b"{tenant_id: a, version: 1.0.0, limits: [{window: week, events: 1}]}", "week"),
        (b"{tenant_id: a, version: 1.0.0, limits: [{window: day, events: -1}]}", ">= 0"),
        (b"{tenant_id: a, version: 1.0.0, limits: [{window: day}]}", "limits[0]: limits neither"),
        (
            b"{tenant_id: a, version: 1.0.0, limits: [{window: day, events: 1}, {window: day, tokens: 1}]}",
            "limits[1]: a second limit on one day",
        ),
        (
            b"{tenant_id: a, version: 1.0.0, limits: [" + b"{window: day, events: 1}," * (LIMITS_MAX + 1) + b"]}",
            "$.limits",
        ),
        (b"{tenant_id: a, version: 1.0.0, content_hash: " + b"0" * 64 + b"}", "content_hash"),
    ],
)
def test_a_budget_that_breaks_a_rule_is_refused_with_its_path(document: bytes, reason: str) -> None:
    with pytest.raises(PolicyError, match="budget: ") as refused:
        load_budget(document)
    assert reason in str(refused.value)
