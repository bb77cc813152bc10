"""The policies that a command line names, or those in force, loaded as a worker loads them."""

from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from topology.policy.bundle import PolicyBundle
from topology.policy.in_force import Policies
from topology.policy.overlays import TenantOverlay, load_overlay
from topology.telemetry.instruments import Instruments
from workers.commands.console.usage_error import WrongUse
from workers.kafka.client import kafka_session
from workers.policy.files import load_policies
from workers.policy.loading import grant_signature_check
from workers.policy.topic import PolicyTopic
from workers.settings import Settings


def policies_of(settings: Settings, option: str, bundle: Path | None, overlays: Path | None = None) -> Policies:
    """Load the policy in the file `bundle` with the overlays in the directory `overlays`; None: those in force.

    Raises WrongUse for a file that cannot be read, PolicyError with every reason why one does not load, and the errors
    of Kafka's clients if the policy in force is on its topic.
    """
    if bundle is None:
        return in_force(settings)
    if overlays is not None:
        if not overlays.is_dir():
            raise WrongUse("--overlays", str(overlays), "no such directory")
        return _in_files(settings, option, str(bundle), str(overlays))
    if settings.policy.source == "topic":
        return Policies(_in_files(settings, option, str(bundle), "").bundle, in_force(settings).overlays)
    return _in_files(settings, option, str(bundle), settings.policy.overlays)


def bundle_of(settings: Settings, option: str, path: Path | None) -> PolicyBundle:
    """Load the policy in the file `path`, or the one in force. Raises as `policies_of` does."""
    return in_force(settings).bundle if path is None else _in_files(settings, option, str(path), "").bundle


def in_force(settings: Settings) -> Policies:
    """Load the policies of the workers from the files that settings name, or from the policy topic. Raises as above."""
    if settings.policy.source == "file":
        return _in_files(settings, "policy", settings.policy.bundle, settings.policy.overlays)
    with (
        kafka_session(settings.kafka, "policy", settings.topics.policy) as kafka,
        closing(PolicyTopic(replace(settings, kafka=kafka), Instruments.none())) as topic,
    ):
        found = topic.look()
        assert found is not None, "the first look waits for policies"
        return found


def _in_files(settings: Settings, option: str, bundle: str, overlays: str) -> Policies:
    named = replace(settings.policy, bundle=bundle, overlays=overlays, shadows="", budgets="")
    try:
        return load_policies(replace(settings, policy=named))
    except OSError as exc:
        raise WrongUse(option, str(exc.filename), f"cannot be read: {exc.strerror}") from exc


def overlay_of(settings: Settings, option: str, path: Path, bundle: PolicyBundle) -> TenantOverlay:
    """Load the overlay in the file `path`, and check it against `bundle`. Raises as `policies_of` does."""
    try:
        raw = path.read_bytes()
    except OSError as exc:
        raise WrongUse(option, str(path), f"cannot be read: {exc.strerror}") from exc
    return load_overlay(raw, bundle, grant_signature_check(settings))
