"""The policy in force: the one that an event is planned, drafted and judged under, from first step to audit record."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import STRICTEST, TenantOverlay


@dataclass(frozen=True, slots=True)
class Policies:
    """The platform's bundle, overlays by tenant id, and candidates for the next bundle. Never changed, only replaced.

    `shadows` are judged beside the bundle and compared with it; nothing else depends on them.
    """

    bundle: PolicyBundle
    overlays: Mapping[str, TenantOverlay] = field(default_factory=dict[str, TenantOverlay])
    shadows: tuple[PolicyBundle, ...] = ()

    def overlay_of(self, tenant_id: str) -> TenantOverlay:
        """Return the tenant's overlay; the strictest defaults for a tenant without one."""
        return self.overlays.get(tenant_id, STRICTEST)
