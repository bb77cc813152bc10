"""The keeper of the policies in force: it loads them, looks for changes at intervals, and replaces them.

A replacement is one assignment, so an event sees either all of the old policies or all of the new ones. Policies that
cannot be loaded change nothing: the failure is counted, its reasons are logged once, and the old policies stay.
"""

import logging
import threading
from typing import Protocol

from msgspec import Struct, structs

from topology.contract.errors import PolicyError, PolicyRefusal, SluicegateError
from topology.policy.in_force import Policies
from topology.ports import Clock
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric

logger = logging.getLogger("sluicegate.policy")

STOP_TIMEOUT_S = 5.0
"""Longest wait for the thread to end, which may be in the middle of a look at the source."""

REASONS_SHOWN_MAX = 50
"""Most reasons in one line of the log; the rest is counted."""


class PolicySource(Protocol):
    """The origin of policies. All calls come from one thread."""

    def look(self) -> Policies | None:
        """Return the policies as they are now; None if nothing changed since the last look. May block for seconds.

        Raises PolicyError with every reason, and the errors of its medium.
        """
        ...

    @property
    def refused(self) -> tuple[str, ...]:
        """Return the reasons for which documents of the source are not among the policies that it returned."""
        ...

    def close(self) -> None:
        """Release the medium."""
        ...


class PolicyHealth(Struct, frozen=True, kw_only=True):
    """The state of the policy and its source; times are Unix epoch milliseconds.

    `looked_ms` is the time of the last look without an error. `refused_count` is the number of reasons for which
    documents of the source are not in force; 0 if all are.
    """

    ref: str
    source: str
    overlay_count: int
    shadow_refs: tuple[str, ...]
    loaded_ms: int
    looked_ms: int
    refused_count: int = 0
    failed_ms: int | None = None
    """Time of the last failed load; None: never."""


class PolicyKeeper:
    """The owner of a source and its thread. `interval_s` passes between two looks."""

    def __init__(
        self, source: PolicySource, *, source_name: str, interval_s: float, clock: Clock, metrics: Instruments
    ) -> None:
        self._source = source
        self._source_name = source_name
        self._interval_s = interval_s
        self._clock = clock
        self._metrics = metrics
        self._policies: Policies | None = None
        self._health: PolicyHealth | None = None
        self._reasons: tuple[str, ...] = ()
        self._first: SluicegateError | OSError | None = None
        self._bug: Exception | None = None
        self._is_loaded = threading.Event()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="policy", daemon=True)

    def start(self) -> None:
        """Load the first policies and start watching for changes. Raises the reason if there are none.

        The source bounds the wait.
        """
        self._thread.start()
        self._is_loaded.wait()
        error = self._bug or self._first
        if error is not None:
            raise error

    def current(self) -> Policies:
        """Return the policies in force. Thread-safe. Raises the error that ended the watching, which is a bug."""
        if self._bug is not None:
            raise self._bug
        assert self._policies is not None, "not started"
        return self._policies

    def health(self) -> PolicyHealth | None:
        """Return a snapshot; None before the first load. Thread-safe."""
        return self._health

    def stop(self) -> None:
        """Stop watching and close the source."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def look(self) -> None:
        """Look at the source once. Call it only on the thread that owns the source."""
        try:
            found = self._source.look()
        except (SluicegateError, OSError) as exc:
            self._refuse(exc)
            return
        if found is not None:
            self._put(found)
        elif self._health is not None:
            refused_count = len(self._source.refused or self._reasons)
            self._health = _changed(self._health, looked_ms=self._clock.now_ms(), refused_count=refused_count)

    def _serve(self) -> None:
        try:
            self.look()
            self._is_loaded.set()
            while self._policies is not None and not self._is_stopping.wait(self._interval_s):
                self.look()
        except Exception as exc:
            # A bug: `current` raises it from now on, which ends the worker.
            logger.exception(
                "policy changes are no longer watched: the worker ends", extra={"error": type(exc).__name__}
            )
            self._bug = exc
        finally:
            self._is_loaded.set()
            self._source.close()

    def _put(self, found: Policies) -> None:
        before, self._policies = self._policies, found
        now_ms = self._clock.now_ms()
        self._reasons = ()
        self._health = PolicyHealth(
            ref=found.bundle.ref,
            source=self._source_name,
            overlay_count=len(found.overlays),
            shadow_refs=tuple(shadow.ref for shadow in found.shadows),
            loaded_ms=now_ms,
            looked_ms=now_ms,
            refused_count=len(self._source.refused),
            failed_ms=self._health.failed_ms if self._health else None,
        )
        if before is not None:
            self._show(before, 0)
        self._show(found, 1)
        logger.info(
            "policy in force",
            extra={
                "policy": found.bundle.ref,
                "before": before.bundle.ref if before else "",
                "overlays": len(found.overlays),
                "shadows": len(found.shadows),
                "budgets": len(found.budgets),
            },
        )

    def _show(self, policies: Policies, value: int) -> None:
        bundle = policies.bundle
        self._metrics.gauge_set(Metric.POLICY_INFO, value, version=bundle.version, hash=bundle.content_hash[:12])

    def _refuse(self, error: SluicegateError | OSError) -> None:
        reasons = error.reasons if isinstance(error, PolicyError) else (f"{type(error).__name__}: {error}",)
        if self._policies is None:
            self._first = error
        if reasons == self._reasons:
            return
        self._reasons = reasons
        why = PolicyRefusal.INVALID if isinstance(error, PolicyError) else PolicyRefusal.UNREADABLE
        self._metrics.count(Metric.POLICY_RELOAD_FAILURES, reason=why.value)
        if self._health is not None:
            self._health = _changed(self._health, refused_count=len(reasons), failed_ms=self._clock.now_ms())
        logger.error(
            "policy not loaded; the one in force stays",
            extra={
                "policy": self._policies.bundle.ref if self._policies else "",
                "reasons": reasons[:REASONS_SHOWN_MAX],
                "reason_count": len(reasons),
            },
        )


def _changed(health: PolicyHealth, **changes: object) -> PolicyHealth:
    return structs.replace(health, **changes)
