"""Keeps the policies in force: loads them, looks for others every so often, and puts those in place that hold.

A swap is one assignment: an event sees all of the old policies or all of the new ones. What cannot be loaded changes
nothing: its reasons are logged once, it is counted, and the policies that were there stay.
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
"""Bound on ending the thread: one look at the source, at most."""

REASONS_SHOWN_MAX = 50
"""Reasons in one line of the log; the rest is counted."""


class PolicySource(Protocol):
    """Where policies come from. All calls on one thread."""

    def look(self) -> Policies | None:
        """The policies as they are now; None where nothing changed since the last look. May block for seconds.

        Raises PolicyError with every reason, and what its medium raises.
        """
        ...

    @property
    def refused(self) -> tuple[str, ...]:
        """Reasons against what the source holds beside the policies that it gave."""
        ...

    def close(self) -> None:
        """Let go of the medium."""
        ...


class PolicyHealth(Struct, frozen=True, kw_only=True):
    """Which policy is in force and how its source fares; times are Unix epoch milliseconds.

    `looked_ms` is when the source was last read without an error, `refused_count` the number of reasons against what
    it holds now, 0 where that is in force.
    """

    ref: str
    source: str
    overlay_count: int
    shadow_refs: tuple[str, ...]
    loaded_ms: int
    looked_ms: int
    refused_count: int = 0
    failed_ms: int | None = None
    """When a load last failed; None: never."""


class PolicyKeeper:
    """Owns a source and its thread. `interval_s` passes between two looks."""

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
        """Load the first policies and watch for others. Raises why there are none; the source bounds the wait."""
        self._thread.start()
        self._is_loaded.wait()
        error = self._bug or self._first
        if error is not None:
            raise error

    def current(self) -> Policies:
        """The policies in force. From any thread. Raises what ended the watching, which is a bug of ours."""
        if self._bug is not None:
            raise self._bug
        assert self._policies is not None, "not started"
        return self._policies

    def health(self) -> PolicyHealth | None:
        """A snapshot; None before the first load. From any thread."""
        return self._health

    def stop(self) -> None:
        """End the watching and close the source."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def look(self) -> None:
        """Look at the source once. Only on the thread that owns it."""
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
            # A bug: whoever asks for the policies next fails with it, which ends the worker.
            logger.exception("policy is no longer watched", extra={"error": type(exc).__name__})
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
            "policy not loaded, the one in force stays",
            extra={
                "policy": self._policies.bundle.ref if self._policies else "",
                "reasons": reasons[:REASONS_SHOWN_MAX],
                "reason_count": len(reasons),
            },
        )


def _changed(health: PolicyHealth, **changes: object) -> PolicyHealth:
    return structs.replace(health, **changes)
