"""Errors, sorted by what the worker does about them.

    SluicegateError
    ├── RetryLater          the same event again later: a backend is down, overloaded or slow
    ├── DeadLetter          never: this record cannot become an event
    ├── TooLate             an event that waited for its turn cannot be answered before its deadline any more
    ├── CheckFailed         a guard could not tell; becomes a finding, never a pass
    ├── Replaced            another run of this event decides what its readers see: nothing more may be released
    │   └── PrefixChanged   another run released text meanwhile: go on from that, or be replaced
    ├── UnreadableMap       a committed offset map that cannot be trusted: its partition stops, nothing is replayed
    ├── PolicyError         a policy bundle or overlay that must not be loaded
    │   └── PublicationRefused  a record of the policy topic that has no effect
    └── SettingsError       a setting that is missing, unknown or out of range

Anything else is a bug and ends the actor. Errors cross process borders: all their state is in `args`.
Messages hold ids, lengths and rule ids, never user text.
"""

from enum import StrEnum

from topology.contract.labels import Outcome


class DeadLetterReason(StrEnum):
    """The reason why a record is in the dead-letter topic (header `x-reason`)."""

    UNREADABLE = "unreadable"
    """Its batch, or a part of it that is not the value, cannot be read."""
    EMPTY_VALUE = "empty_value"
    MISSING_KEY = "missing_key"
    KEY_MISMATCH = "key_mismatch"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    MALFORMED = "malformed"
    TOO_DEEP = "too_deep"
    INVALID = "invalid"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_CONTENT_TYPE = "unknown_content_type"
    RESERVED_TENANT = "reserved_tenant"
    PROCESSING_FAILED = "processing_failed"
    RESULT_TOO_LARGE = "result_too_large"
    """Its answer, or another record of its result, is larger than a topic allows."""
    POISON = "poison"
    """Its processing coincided with as many crashes of a process as are allowed."""


class SluicegateError(Exception):
    """The root of this project's errors; never raised itself."""


class RetryLater(SluicegateError):
    """A backend cannot answer now. `args` is (outcome, backend, detail, after_s).

    `after_s` is how many more seconds the backend asked not to be called; 0 if it did not say.
    """

    def __init__(self, outcome: Outcome, backend: str, detail: str, after_s: float = 0.0) -> None:
        super().__init__(outcome, backend, detail, after_s)
        self.outcome = outcome
        self.backend = backend
        self.detail = detail
        self.after_s = after_s

    def __str__(self) -> str:
        return f"{self.backend}: {self.outcome.value}: {self.detail}"


class DeadLetter(SluicegateError):
    """A record that can never be processed. `args` is (reason, stage, detail)."""

    def __init__(self, reason: DeadLetterReason, stage: str, detail: str) -> None:
        super().__init__(reason, stage, detail)
        self.reason = reason
        self.stage = stage
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason.value}: {self.detail}"


class TooLate(SluicegateError):
    """An event that waits for its turn could not be answered before its deadline: it is shed. `args` is (where,)."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


class CheckFailed(SluicegateError):
    """A guard or labeller could not tell. `args` is (outcome, guard, detail)."""

    def __init__(self, outcome: Outcome, guard: str, detail: str) -> None:
        super().__init__(outcome, guard, detail)
        self.outcome = outcome
        self.guard = guard
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.guard}: {self.outcome.value}: {self.detail}"


class Replaced(SluicegateError):
    """Nothing may be released by this run of an event any more. `args` is (reason,)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PrefixChanged(Replaced):
    """Another run has released text that is not this one's: whoever opens again goes on from what is released now."""


class UnreadableMap(SluicegateError):
    """A committed offset map that cannot be trusted. `args` is (fault,)."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


class PolicyError(SluicegateError):
    """A bundle or overlay that must not be loaded. `args` is the tuple of all reasons."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(*reasons)
        self.reasons = reasons

    def __str__(self) -> str:
        return "; ".join(self.reasons)


class PolicyRefusal(StrEnum):
    """The reason why a policy, or a publication of one, has no effect; the values of a metric's label."""

    UNREADABLE = "unreadable"
    """Its file or topic could not be read."""
    INVALID = "invalid"
    """The document breaks a rule."""
    TOMBSTONE = "tombstone"
    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    UNDOMAINED = "undomained"
    """Signed by a known key, in the form of versions before 0.2."""
    LOWER_VERSION = "lower_version"
    DATED_AHEAD = "dated_ahead"


class PublicationRefused(PolicyError):
    """A record of the policy topic that has no effect. `args` is (why, *reasons)."""

    def __init__(self, why: PolicyRefusal, *reasons: str) -> None:
        super().__init__(why, *reasons)
        self.why = why
        self.reasons = reasons


class SettingsError(SluicegateError):
    """A setting that cannot be used. `args` is (key, value as shown, what it must be).

    If no value is shown, the third is a sentence of its own.
    """

    def __init__(self, key: str, shown: str, allowed: str) -> None:
        super().__init__(key, shown, allowed)
        self.key = key
        self.shown = shown
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.key} = {self.shown}: must be {self.allowed}" if self.shown else f"{self.key}: {self.allowed}"
