"""The loading of policy documents from bytes to the policies that a worker applies, with settings applied."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct, structs

from topology.contract.errors import PolicyError
from topology.contract.events import SHADOWS_MAX
from topology.policy.budgets import TenantBudget, load_budget
from topology.policy.bundle import AgeDefault, PolicyBundle
from topology.policy.in_force import Policies
from topology.policy.loading import load_bundle, packaged_bundle
from topology.policy.overlays import TenantOverlay, load_overlay
from topology.policy.signatures import CheckSignature
from workers.policy.signing import public_keys, signature_check
from workers.settings import Settings

Loaded = TypeVar("Loaded")
Named = tuple[str, bytes]
"""A document's origin, for the reasons of a refusal, and its bytes."""


class Documents(Struct, frozen=True, kw_only=True):
    """All documents of one state of the policy. `bundle` None means the packaged one."""

    bundle: bytes | None = None
    overlays: tuple[Named, ...] = ()
    shadows: tuple[Named, ...] = ()
    budgets: tuple[Named, ...] = ()

    def digest(self) -> str:
        """Return a digest of all names and bytes."""
        return hashlib.sha256(repr((self.bundle, self.overlays, self.shadows, self.budgets)).encode()).hexdigest()


class DocumentLoader:
    """The loader of documents. Raises SettingsError for an invalid key in `grants.keys`."""

    def __init__(self, settings: Settings) -> None:
        self._age_default = settings.policy.age_default
        self._check_signature = grant_signature_check(settings)

    def policies(self, documents: Documents) -> Policies:
        """Load all of them. Raises PolicyError with every reason."""
        bundle = self.bundle(documents.bundle)
        overlays, reasons = self.overlays(documents.overlays, bundle)
        shadows, more = self.shadows(documents.shadows)
        budgets, still_more = self.budgets(documents.budgets)
        if reasons or more or still_more:
            raise PolicyError(*reasons, *more, *still_more)
        return Policies(bundle, overlays, shadows, budgets)

    def bundle(self, raw: bytes | None) -> PolicyBundle:
        """Load a bundle, with the age default of settings; `raw` None is the packaged one. Raises PolicyError."""
        bundle = packaged_bundle() if raw is None else load_bundle(raw)
        if not self._age_default:
            return bundle
        # The policy now differs from the document, so its hash must too: equal references must mean equal decisions.
        changed = hashlib.sha256(f"{bundle.content_hash} age_default={self._age_default}".encode())
        return structs.replace(bundle, age_default=AgeDefault(self._age_default), content_hash=changed.hexdigest())

    def overlays(
        self, documents: Iterable[Named], bundle: PolicyBundle
    ) -> tuple[Mapping[str, TenantOverlay], list[str]]:
        """Return the overlays that are valid under `bundle`, by tenant, and every reason against the others."""
        loaded, reasons = _each(documents, lambda raw: load_overlay(raw, bundle, self._check_signature))
        overlays: dict[str, TenantOverlay] = {}
        twice: list[str] = []
        for name, overlay in loaded:
            if overlay.tenant_id in overlays:
                twice.append(f"{name}: a second overlay of tenant {overlay.tenant_id}; remove one of them")
            overlays[overlay.tenant_id] = overlay
        return overlays, [*twice, *reasons]

    def shadows(self, documents: Iterable[Named]) -> tuple[tuple[PolicyBundle, ...], list[str]]:
        """Return the shadows that load, in the order of their names, and every reason against the others."""
        loaded, reasons = _each(documents, self.bundle)
        if len(loaded) > SHADOWS_MAX:
            reasons.append(f"{len(loaded)} shadows; at most {SHADOWS_MAX} are allowed")
        return tuple(bundle for _, bundle in sorted(loaded, key=lambda each: each[0])), reasons

    def budgets(self, documents: Iterable[Named]) -> tuple[Mapping[str, TenantBudget], list[str]]:
        """Return the budgets that load, by tenant, and every reason against the others."""
        loaded, reasons = _each(documents, load_budget)
        budgets: dict[str, TenantBudget] = {}
        for name, budget in loaded:
            if budget.tenant_id in budgets:
                reasons.append(f"{name}: a second budget of tenant {budget.tenant_id}; remove one of them")
            budgets[budget.tenant_id] = budget
        return budgets, reasons


def grant_signature_check(settings: Settings) -> CheckSignature:
    """Return the check of the signatures in an overlay. Raises SettingsError for an invalid key in `grants.keys`."""
    keys = public_keys(settings.grants.keys, "grants.keys")
    return signature_check(keys, accept_undomained=settings.signatures.accept_undomained)


def _each(documents: Iterable[Named], load: Callable[[bytes], Loaded]) -> tuple[list[tuple[str, Loaded]], list[str]]:
    loaded: list[tuple[str, Loaded]] = []
    reasons: list[str] = []
    for name, raw in documents:
        try:
            loaded.append((name, load(raw)))
        except PolicyError as exc:
            reasons.extend(f"{name}: {reason}" for reason in exc.reasons)
    return loaded, reasons
