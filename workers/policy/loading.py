"""Policy documents as bytes to the policies that a worker judges under, with settings applied."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct, structs

from topology.contract.errors import PolicyError
from topology.contract.events import SHADOWS_MAX
from topology.policy.bundle import AgeDefault, PolicyBundle
from topology.policy.in_force import Policies
from topology.policy.loading import load_bundle, packaged_bundle
from topology.policy.overlays import TenantOverlay, load_overlay
from workers.policy.grants import public_keys, signature_verifier
from workers.settings import Settings

Loaded = TypeVar("Loaded")
Named = tuple[str, bytes]
"""Where a document comes from, for reasons, and its bytes."""


class Documents(Struct, frozen=True, kw_only=True):
    """Everything that makes up one state of the policy. `bundle` None means the packaged one."""

    bundle: bytes | None = None
    overlays: tuple[Named, ...] = ()
    shadows: tuple[Named, ...] = ()

    def digest(self) -> str:
        """What differs when any name or byte does."""
        return hashlib.sha256(repr((self.bundle, self.overlays, self.shadows)).encode()).hexdigest()


class DocumentLoader:
    """Checks documents. Raises SettingsError for a key of `grants.keys` that is none."""

    def __init__(self, settings: Settings) -> None:
        self._age_default = settings.policy.age_default
        self._is_signed = signature_verifier(public_keys(settings.grants.keys))

    def policies(self, documents: Documents) -> Policies:
        """All of them together, or PolicyError with every reason."""
        bundle = self.bundle(documents.bundle)
        overlays, reasons = self.overlays(documents.overlays, bundle)
        shadows, more = self.shadows(documents.shadows)
        if reasons or more:
            raise PolicyError(*reasons, *more)
        return Policies(bundle, overlays, shadows)

    def bundle(self, raw: bytes | None) -> PolicyBundle:
        """A bundle with the age default that settings name. Raises PolicyError with every reason."""
        bundle = packaged_bundle() if raw is None else load_bundle(raw)
        if not self._age_default:
            return bundle
        # Another policy than the document's, so under another hash: equal references must mean equal decisions.
        changed = hashlib.sha256(f"{bundle.content_hash} age_default={self._age_default}".encode())
        return structs.replace(bundle, age_default=AgeDefault(self._age_default), content_hash=changed.hexdigest())

    def overlays(
        self, documents: Iterable[Named], bundle: PolicyBundle
    ) -> tuple[Mapping[str, TenantOverlay], list[str]]:
        """Those that hold under `bundle`, by tenant, and every reason against the others."""
        loaded, reasons = _each(documents, lambda raw: load_overlay(raw, bundle, self._is_signed))
        overlays: dict[str, TenantOverlay] = {}
        twice: list[str] = []
        for name, overlay in loaded:
            if overlay.tenant_id in overlays:
                twice.append(f"{name}: a second overlay of tenant {overlay.tenant_id}")
            overlays[overlay.tenant_id] = overlay
        return overlays, [*twice, *reasons]

    def shadows(self, documents: Iterable[Named]) -> tuple[tuple[PolicyBundle, ...], list[str]]:
        """Those that load, in the order of their names, and every reason against the others."""
        loaded, reasons = _each(documents, self.bundle)
        if len(loaded) > SHADOWS_MAX:
            reasons.append(f"{len(loaded)} shadows, at most {SHADOWS_MAX}")
        return tuple(bundle for _, bundle in sorted(loaded, key=lambda each: each[0])), reasons


def _each(documents: Iterable[Named], load: Callable[[bytes], Loaded]) -> tuple[list[tuple[str, Loaded]], list[str]]:
    loaded: list[tuple[str, Loaded]] = []
    reasons: list[str] = []
    for name, raw in documents:
        try:
            loaded.append((name, load(raw)))
        except PolicyError as exc:
            reasons.extend(f"{name}: {reason}" for reason in exc.reasons)
    return loaded, reasons
