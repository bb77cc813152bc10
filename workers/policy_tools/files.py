"""Policies from files that a command line names, loaded as a worker would load them."""

from pathlib import Path

from msgspec.structs import replace

from serving.grants import public_keys, signature_verifier
from topology.bundle import PolicyBundle
from topology.in_force import Policies
from topology.overlays import TenantOverlay, load_overlay
from workers.policy_files import load_policies
from workers.recovery.wrong_use import WrongUse
from workers.settings import Settings


def policies_of(settings: Settings, option: str, bundle: Path | None, overlays: Path | None = None) -> Policies:
    """The policy in the file `bundle`, with the overlays in the directory `overlays`; None: those of the settings.

    Raises WrongUse for what cannot be read, PolicyError with every reason against what can.
    """
    if overlays is not None and not overlays.is_dir():
        raise WrongUse("--overlays", str(overlays), "no such directory")
    named = replace(
        settings.policy,
        bundle=settings.policy.bundle if bundle is None else str(bundle),
        overlays=settings.policy.overlays if overlays is None else str(overlays),
    )
    try:
        return load_policies(replace(settings, policy=named))
    except OSError as exc:
        raise WrongUse(option, str(exc.filename), f"cannot be read: {exc.strerror}") from exc


def bundle_of(settings: Settings, option: str, path: Path | None) -> PolicyBundle:
    """The policy in the file `path`, or the settings' own; no overlay is looked at. Raises as `policies_of` does."""
    alone = replace(settings, policy=replace(settings.policy, overlays=""))
    return policies_of(alone, option, path).bundle


def overlay_of(settings: Settings, option: str, path: Path, bundle: PolicyBundle) -> TenantOverlay:
    """The overlay in the file `path`, checked against `bundle`. Raises as `policies_of` does."""
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise WrongUse(option, str(path), f"cannot be read: {exc.strerror}") from exc
    return load_overlay(raw, bundle, signature_verifier(public_keys(settings.grants.keys)))
