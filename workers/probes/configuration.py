"""Probes of what is on this machine: the files that settings name, and the policy."""

from collections.abc import Iterator

from topology.errors import PolicyError, SettingsError
from workers.policy_files import load_policies
from workers.probes.probe import Line, note, ok, wrong
from workers.settings import Settings
from workers.settings_checks import file_problems

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


def probe_policy(settings: Settings, _timeout_s: float) -> Iterator[Line]:
    """That bundle and overlays load, as a worker loads them."""
    mend = "mend the file that policy.bundle or policy.overlays names"
    try:
        policies = load_policies(settings)
    except PolicyError as exc:
        for reason in exc.reasons[:REASONS_MAX]:
            yield wrong("policy", reason, mend)
        if len(exc.reasons) > REASONS_MAX:
            yield wrong("policy", f"{len(exc.reasons) - REASONS_MAX} more reasons", mend)
    except SettingsError as exc:
        yield wrong("policy", f"{exc.key} is {exc.shown}", f"{exc.key}: {exc.allowed}")
    except OSError as exc:
        yield wrong("policy", f"{exc.filename}: {exc.strerror}", "let policy.bundle name a file that can be read")
    else:
        yield ok("policy", f"{policies.bundle.ref}, overlays: {len(policies.overlays)}")
