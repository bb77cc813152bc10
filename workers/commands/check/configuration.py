"""The probes of this machine: the files that settings name, and the policy."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from topology.contract.errors import PolicyError, SettingsError
from topology.policy.in_force import Policies
from topology.policy.lint import RemarkSeverity, lint
from workers.commands.check.probe import Line, note, ok, wrong
from workers.kafka.client import kafka_session
from workers.kafka.errors import KafkaRefused, KafkaUnavailable
from workers.policy.files import load_policies
from workers.policy.publishing import would_be
from workers.settings import Settings
from workers.settings.combinations import file_problems

REASONS_MAX = 5
"""The most reasons against a policy that are shown; the others are counted."""


def probe_settings(settings: Settings, _timeout_s: float) -> Iterator[Line]:
    """Check the files that settings name. The values were checked before any command runs."""
    problems = file_problems(settings)
    for problem in problems:
        yield wrong("settings", f"{problem.key} = {problem.shown} does not exist", f"{problem.key}: {problem.allowed}")
    if not problems:
        yield ok("settings", "values are valid, and the files they name exist")
    if not settings.redaction.digest_key:
        yield note(
            "settings",
            "digests of audit records cannot be compared: each process takes a random key",
            "set redaction.digest_key_file",
        )


def probe_policy(settings: Settings, timeout_s: float) -> Iterator[Line]:
    """Check that bundle and overlays load as a worker loads them, and count the warnings about them."""
    if settings.policy.source == "topic":
        yield from _published(settings, timeout_s)
        return
    mend = "correct the file that policy.bundle, policy.overlays, policy.shadows or policy.budgets names"
    try:
        policies = load_policies(settings)
    except PolicyError as exc:
        yield from _reasons(exc.reasons, mend)
    except SettingsError as exc:
        yield wrong("policy", f"{exc.key} is {exc.shown}", f"{exc.key}: {exc.allowed}")
    except OSError as exc:
        yield wrong("policy", f"{exc.filename}: {exc.strerror}", "set policy.bundle to a file that can be read")
    else:
        yield from _loaded(policies)


def _published(settings: Settings, timeout_s: float) -> Iterator[Line]:
    """Check the policies that the policy topic holds."""
    topic = settings.topics.policy
    try:
        with kafka_session(settings.kafka, "check", topic) as kafka:
            found, _ = would_be(settings, replace(kafka, connect_timeout_s=timeout_s), (), timeout_s)
    except (KafkaUnavailable, KafkaRefused, TimeoutError) as exc:
        yield wrong("policy", f"topic {topic} could not be read: {exc}", "see the lines about brokers and topics")
        return
    if found.policies is None:
        mend = f"publish a bundle {settings.policy.id} with `sluicegate policy sign` and `publish`"
        yield wrong("policy", f"topic {topic} holds no bundle {settings.policy.id} for the keys of policy.keys", mend)
    else:
        yield from _loaded(found.policies)
    for _, refusal in found.refused[-REASONS_MAX:]:
        yield note("policy", f"has no effect: {refusal}")


def _loaded(policies: Policies) -> Iterator[Line]:
    parts = f"overlays: {len(policies.overlays)}, shadows: {len(policies.shadows)}, budgets: {len(policies.budgets)}"
    yield ok("policy", f"{policies.bundle.ref}, {parts}")
    warnings = [remark for remark in lint(policies.bundle) if remark.severity is RemarkSeverity.WARNING]
    if warnings:
        yield note("policy", f"{len(warnings)} warnings about the bundle", "`sluicegate policy lint` lists them")


def _reasons(reasons: Sequence[str], mend: str) -> Iterator[Line]:
    for reason in reasons[:REASONS_MAX]:
        yield wrong("policy", reason, mend)
    if len(reasons) > REASONS_MAX:
        yield wrong("policy", f"{len(reasons) - REASONS_MAX} more reasons", mend)
