"""The policy in force: the one that an event is planned, drafted and judged under, from first step to audit record."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from topology.policy.budgets import OTHERS, UNLIMITED, TenantBudget
from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import STRICTEST, TenantOverlay


@dataclass(frozen=True, slots=True)
class Policies:
    """The platform's bundle, overlays and budgets by tenant id, and candidates for the next bundle.

    Never changed, only replaced.

    `shadows` are judged beside the bundle and compared with it; nothing else depends on them.
    """

    bundle: PolicyBundle
    overlays: Mapping[str, TenantOverlay] = field(default_factory=dict[str, TenantOverlay])
    shadows: tuple[PolicyBundle, ...] = ()
    budgets: Mapping[str, TenantBudget] = field(default_factory=dict[str, TenantBudget])

    def overlay_of(self, tenant_id: str) -> TenantOverlay:
        """Return the tenant's overlay; the strictest defaults for a tenant without one."""
        return self.overlays.get(tenant_id, STRICTEST)

    def tenant_label(self, tenant_id: str) -> str:
        """Return the tenant's name in metrics: its id if the platform knows it by an overlay or a budget, else `*`."""
        return tenant_id if tenant_id in self.overlays or tenant_id in self.budgets else OTHERS

    def budget_of(self, tenant_id: str) -> TenantBudget:
        """Return the tenant's budget; for a tenant without one that of all others, by default without limits."""
        return self.budgets.get(tenant_id) or self.budgets.get(OTHERS, UNLIMITED)
