"""Probes of what is on this machine: the files that settings name, and the policy."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from topology.contract.errors import PolicyError, SettingsError
from topology.policy.in_force import Policies
from topology.policy.lint import RemarkSeverity, lint
from workers.commands.check.probe import Line, note, ok, wrong
from workers.commands.console.kafka_session import kafka_session
from workers.kafka.errors import KafkaRefused, KafkaUnavailable
from workers.policy.files import load_policies
from workers.policy.publishing import would_be
from workers.settings import Settings
from workers.settings.combinations import file_problems

REASONS_MAX = 5
"""Reasons against a policy that are shown; the rest is counted."""


def probe_settings(settings: Settings, _timeout_s: float) -> Iterator[Line]:
    """The files they name. That values fit each other is checked before any command runs."""
    problems = file_problems(settings)
    for problem in problems:
        yield wrong("settings", f"{problem.key} = {problem.shown} is not there", f"{problem.key}: {problem.allowed}")
    if not problems:
        yield ok("settings", "values fit, and the files they name are there")
    if not settings.redaction.digest_key:
        yield note(
            "settings",
            "digests of audit records cannot be compared: each process takes a random key",
            "set redaction.digest_key_file",
        )


def probe_policy(settings: Settings, timeout_s: float) -> Iterator[Line]:
    """That bundle and overlays load, as a worker loads them, and what is odd about them."""
    if settings.policy.source == "topic":
        yield from _published(settings, timeout_s)
        return
    mend = "mend the file that policy.bundle, policy.overlays or policy.shadows names"
    try:
        policies = load_policies(settings)
    except PolicyError as exc:
        yield from _reasons(exc.reasons, mend)
    except SettingsError as exc:
        yield wrong("policy", f"{exc.key} is {exc.shown}", f"{exc.key}: {exc.allowed}")
    except OSError as exc:
        yield wrong("policy", f"{exc.filename}: {exc.strerror}", "let policy.bundle name a file that can be read")
    else:
        yield from _loaded(policies)


def _published(settings: Settings, timeout_s: float) -> Iterator[Line]:
    """What the policy topic amounts to."""
    topic = settings.topics.policy
    try:
        with kafka_session(settings.kafka, "check", topic) as kafka:
            found = would_be(settings, replace(kafka, connect_timeout_s=timeout_s), (), timeout_s)
    except (KafkaUnavailable, KafkaRefused, TimeoutError) as exc:
        yield wrong("policy", f"topic {topic} could not be read: {exc}", "see what is said of brokers and topics")
        return
    if found.policies is None:
        mend = f"publish a bundle {settings.policy.id} with `sluicegate policy sign` and `publish`"
        yield wrong("policy", f"topic {topic} holds no bundle {settings.policy.id} for the keys of policy.keys", mend)
    else:
        yield from _loaded(found.policies)
    for _, refusal in found.refused[-REASONS_MAX:]:
        yield note("policy", f"has no effect: {refusal}")


def _loaded(policies: Policies) -> Iterator[Line]:
    parts = f"overlays: {len(policies.overlays)}, shadows: {len(policies.shadows)}"
    yield ok("policy", f"{policies.bundle.ref}, {parts}")
    warnings = [remark for remark in lint(policies.bundle) if remark.severity is RemarkSeverity.WARNING]
    if warnings:
        yield note("policy", f"{len(warnings)} warnings about the bundle", "`sluicegate policy lint` lists them")


def _reasons(reasons: Sequence[str], mend: str) -> Iterator[Line]:
    for reason in reasons[:REASONS_MAX]:
        yield wrong("policy", reason, mend)
    if len(reasons) > REASONS_MAX:
        yield wrong("policy", f"{len(reasons) - REASONS_MAX} more reasons", mend)
