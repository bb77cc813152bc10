"""The policy on its topic: signed bundles, overlays, shadows and budgets; the newest valid ones are in force.

The policies are worked out from all publications at once (`topology.policy.envelopes`). So every worker that has read
the same publications applies the same policy, whatever their order and whenever it started. A bundle that breaks a rule
counts as not published. A tenant whose newest overlay is invalid under the bundle gets the strictest defaults until one
is valid, because an older overlay might allow what the newer one forbids. A budget that breaks a rule counts as not
published, because it depends on no other document.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from topology.contract.errors import PolicyError, PolicyRefusal, PublicationRefused
from topology.contract.events import SHADOWS_MAX
from topology.contract.records import Record
from topology.policy.budgets import TenantBudget
from topology.policy.bundle import PolicyBundle
from topology.policy.envelopes import Envelope, PublicationKind, holding, open_envelope
from topology.policy.in_force import Policies
from topology.policy.overlays import TenantOverlay
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.errors import KafkaUnavailable
from workers.kafka.reader import TopicReader
from workers.policy.loading import DocumentLoader
from workers.policy.signing import public_keys, signature_check
from workers.process.clock import SystemClock
from workers.settings import Settings

logger = logging.getLogger("sluicegate.policy")

POLL_S = 0.2
PUBLICATIONS_MAX = 2_000
"""Publications kept in memory, at about 70 KB for a bundle; beyond it, the oldest ones not in force are dropped."""
REFUSALS_LOGGED_MAX = 100
"""Most refusals logged in one look; all are counted."""

Reader = Callable[[], TopicReader]
Refused = list[tuple[Envelope, PublicationRefused]]
"""Publications without effect, and the reason of each."""


class Found(Struct, frozen=True):
    """The policies that publications result in, and the publications that have no effect, each with its reason.

    `held` has the publication in effect of each subject.
    """

    policies: Policies | None
    refused: tuple[tuple[Envelope, PublicationRefused], ...]
    held: tuple[Envelope, ...] = ()


class Publications:
    """All publications with a valid signature. The result is worked out again whenever one is added, or is due.

    One that is dated more than `policy.ahead_max_s` ahead of the clock `now_ms` (Unix epoch milliseconds) is not due.
    """

    def __init__(self, settings: Settings, now_ms: Callable[[], int] | None = None) -> None:
        self._policy = settings.policy
        self._now_ms = now_ms or SystemClock().now_ms
        self._due_ms = 0
        """Publications up to this date count in the last result."""
        self._loader = DocumentLoader(settings)
        keys = public_keys(settings.policy.keys, "policy.keys")
        self._check_signature = signature_check(keys, accept_undomained=settings.signatures.accept_undomained)
        self._known: dict[str, Envelope] = {}
        self._bundles: dict[str, PolicyBundle | PublicationRefused] = {}

    @property
    def count(self) -> int:
        """Return the number of publications kept."""
        return len(self._known)

    @property
    def is_due(self) -> bool:
        """Return whether a publication counts by now that was dated too far ahead before."""
        due_ms = self._latest_ms()
        return any(self._due_ms < envelope.issued_ms <= due_ms for envelope in self._known.values())

    def take(self, raw: bytes | None) -> bool:
        """Add a record's value and return whether it was new. Raises PublicationRefused."""
        envelope = open_envelope(raw, self._policy.keys, self._check_signature)
        if envelope.kind is PublicationKind.BUNDLE and not envelope.document:
            raise PublicationRefused(PolicyRefusal.INVALID, f"{envelope.title}: a bundle is replaced, never withdrawn")
        if envelope.key in self._known:
            return False
        self._known[envelope.key] = envelope
        return True

    def found(self) -> Found:
        """Work out the policies; there are none while no bundle is valid."""
        self._due_ms = self._latest_ms()
        refused: Refused = [(each, self._ahead(each)) for each in self._known.values() if each.issued_ms > self._due_ms]
        held, bundle = self._live_bundle(refused)
        if held is None or bundle is None:
            return Found(None, tuple(refused))
        keep = [held]
        overlays: dict[str, TenantOverlay] = {}
        shadows: dict[str, PolicyBundle] = {}
        for envelope in self._holding(PublicationKind.OVERLAY, refused):
            keep.append(envelope)
            if envelope.document and (overlay := self._overlay(envelope, bundle, refused)) is not None:
                overlays[envelope.id] = overlay
        for envelope in self._holding(PublicationKind.SHADOW, refused):
            keep.append(envelope)
            if envelope.document and (shadow := self._bundle(envelope, refused)) is not None:
                if len(shadows) < SHADOWS_MAX:
                    shadows[envelope.id] = shadow
                else:
                    refused.append((envelope, _invalid(envelope, [f"more than {SHADOWS_MAX} shadows"])))
        budgets = self._budgets(keep, refused)
        self._drop_oldest({envelope.key for envelope in keep})
        policies = Policies(bundle, overlays, tuple(shadows[name] for name in sorted(shadows)), budgets)
        return Found(policies, tuple(refused), tuple(keep))

    def _latest_ms(self) -> int:
        return self._now_ms() + int(self._policy.ahead_max_s * 1000)

    def _ahead(self, envelope: Envelope) -> PublicationRefused:
        bound = f"more than policy.ahead_max_s ({self._policy.ahead_max_s:g} s) ahead"
        reason = f"{envelope.title}: issued_ms {envelope.issued_ms} is {bound}; check the signer's clock and sign again"
        return PublicationRefused(PolicyRefusal.DATED_AHEAD, reason)

    def _live_bundle(self, refused: Refused) -> tuple[Envelope | None, PolicyBundle | None]:
        """Return the bundle in force among those that break no rule."""
        subject = (PublicationKind.BUNDLE, self._policy.id)
        sound = {
            envelope.key: (envelope, bundle)
            for envelope in self._of(subject)
            if (bundle := self._bundle(envelope, refused)) is not None
        }
        held, low = holding((envelope for envelope, _ in sound.values()), self._policy.version_min)
        refused.extend((envelope, _too_low(envelope)) for envelope in low)
        return (None, None) if held is None else sound[held.key]

    def _budgets(self, keep: list[Envelope], refused: Refused) -> dict[str, TenantBudget]:
        """Return the budgets in force among those that break no rule; what holds is added to `keep`."""
        budgets: dict[str, TenantBudget] = {}
        for subject in self._subjects(PublicationKind.BUDGET):
            read = {envelope.key: self._budget(envelope, refused) for envelope in self._of(subject)}
            sound = [each for each in self._of(subject) if not each.document or read[each.key] is not None]
            held, low = holding(sound)
            refused.extend((envelope, _too_low(envelope)) for envelope in low)
            if held is not None:
                keep.append(held)
                if (budget := read[held.key]) is not None:
                    budgets[held.id] = budget
        return budgets

    def _budget(self, envelope: Envelope, refused: Refused) -> TenantBudget | None:
        """Return the budget in an envelope; None if that withdraws one, or is refused."""
        if not envelope.document:
            return None
        loaded, faults = self._loader.budgets([("document", envelope.document.encode())])
        for budget in loaded.values():
            faults.extend(_other(envelope, budget.tenant_id, budget.version))
        if faults:
            refused.append((envelope, _invalid(envelope, faults)))
            return None
        return loaded[envelope.id]

    def _subjects(self, kind: PublicationKind) -> list[tuple[PublicationKind, str]]:
        return sorted({envelope.subject for envelope in self._due() if envelope.kind is kind})

    def _holding(self, kind: PublicationKind, refused: Refused) -> Iterator[Envelope]:
        for subject in self._subjects(kind):
            held, low = holding(self._of(subject))
            refused.extend((envelope, _too_low(envelope)) for envelope in low)
            if held is not None:
                yield held

    def _of(self, subject: tuple[PublicationKind, str]) -> list[Envelope]:
        return [envelope for envelope in self._due() if envelope.subject == subject]

    def _due(self) -> Iterator[Envelope]:
        return (envelope for envelope in self._known.values() if envelope.issued_ms <= self._due_ms)

    def _bundle(self, envelope: Envelope, refused: Refused) -> PolicyBundle | None:
        """Return the bundle in an envelope, which is decoded only once."""
        read = self._bundles.get(envelope.key)
        if read is None:
            read = self._bundles[envelope.key] = self._read_bundle(envelope)
        if isinstance(read, PolicyBundle):
            return read
        refused.append((envelope, read))
        return None

    def _read_bundle(self, envelope: Envelope) -> PolicyBundle | PublicationRefused:
        try:
            bundle = self._loader.bundle(envelope.document.encode())
        except PolicyError as exc:
            return _invalid(envelope, exc.reasons)
        faults = _other(envelope, bundle.policy_id, bundle.version)
        return _invalid(envelope, faults) if faults else bundle

    def _overlay(self, envelope: Envelope, bundle: PolicyBundle, refused: Refused) -> TenantOverlay | None:
        loaded, faults = self._loader.overlays([("document", envelope.document.encode())], bundle)
        for overlay in loaded.values():
            faults.extend(_other(envelope, overlay.tenant_id, overlay.version))
        if faults:
            refused.append((envelope, _invalid(envelope, faults)))
            return None
        return loaded[envelope.id]

    def _drop_oldest(self, keep: set[str]) -> None:
        spare = sorted(
            (envelope for key, envelope in self._known.items() if key not in keep),
            key=lambda each: (bool(each.over), each.issued_ms),  # what a roll-back took back must not return
        )
        for envelope in spare[: max(0, len(self._known) - PUBLICATIONS_MAX)]:
            del self._known[envelope.key]
            self._bundles.pop(envelope.key, None)


def _other(envelope: Envelope, name: str, version: str) -> list[str]:
    if (name, version) == (envelope.id, envelope.version):
        return []
    return [f"the document is {name}@{version}; its publication must have the same name and version"]


def _invalid(envelope: Envelope, faults: Iterable[str]) -> PublicationRefused:
    return PublicationRefused(PolicyRefusal.INVALID, *(f"{envelope.title}: {fault}" for fault in faults))


def _too_low(envelope: Envelope) -> PublicationRefused:
    reason = f"{envelope.title}: lower than the version before it or policy.version_min, and not a roll-back"
    return PublicationRefused(PolicyRefusal.LOWER_VERSION, reason)


class PolicyTopic:
    """The PolicySource of the policy topic. The reader is made, used and closed on the thread that looks."""

    def __init__(
        self,
        settings: Settings,
        metrics: Instruments,
        *,
        reader: Reader | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        kafka, self._topic = settings.kafka, settings.topics.policy
        self._policy = settings.policy
        self._metrics = metrics
        self._make_reader = reader or (lambda: TopicReader(kafka, [self._topic], from_beginning=True))
        self._monotonic_s = monotonic_s
        self._publications = Publications(settings, now_ms)
        self._reader: TopicReader | None = None
        self._in_force: tuple[object, ...] = ()
        self._told: set[str] = set()
        self._refused_now: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        """Return the reasons against publications that are newer than those in force, or would be part of them."""
        return self._refused_now

    def look(self) -> Policies | None:
        """Return the policies; None if they did not change. The first look reads to the end and waits for a bundle.

        Raises KafkaUnavailable, KafkaRefused, and PolicyError without a valid bundle within `policy.start_timeout_s`.
        """
        if self._reader is None:
            return self._first_look()
        return self._after(self._reader.poll(POLL_S))

    def close(self) -> None:
        """Release the connections."""
        if self._reader is not None:
            self._reader.close()

    def _first_look(self) -> Policies:
        deadline_s = self._monotonic_s() + self._policy.start_timeout_s
        self._reader = reader = self._make_reader()
        try:
            policies = self._after(reader.read_to_end(self._policy.start_timeout_s))
        except TimeoutError as exc:
            raise KafkaUnavailable(f"topic {self._topic}", "not read to its end in time") from exc
        while policies is None:
            if self._monotonic_s() >= deadline_s:
                raise PolicyError(
                    f"topic {self._topic} holds no valid bundle {self._policy.id} of version {self._policy.version_min}"
                    f" or later with a signature by a key of policy.keys; waited {self._policy.start_timeout_s:g} s",
                    *self._refused_now,
                )
            policies = self._after(reader.poll(POLL_S))
        return policies

    def _after(self, records: Iterable[Record]) -> Policies | None:
        """Add records and return the policies in force; None if they did not change."""
        is_new = False
        logged = 0
        for record in records:
            try:
                is_new |= self._publications.take(record.value)
            except PublicationRefused as exc:
                logged += 1
                self._tell(exc, record.offset, is_logged=logged <= REFUSALS_LOGGED_MAX)
        return self._settle() if is_new or self._publications.is_due else None

    def _settle(self) -> Policies | None:
        found = self._publications.found()
        for envelope, refusal in found.refused:
            mark = f"{envelope.key} {refusal}"
            if mark not in self._told:
                self._told.add(mark)
                self._tell(refusal, None, is_logged=True)
        self._refused_now = tuple(reason for _, refusal in found.refused for reason in refusal.reasons)
        policies = found.policies
        if policies is None:
            return None
        overlays = sorted(overlay.ref for overlay in policies.overlays.values())
        budgets = sorted(budget.ref for budget in policies.budgets.values())
        in_force = (policies.bundle.ref, *overlays, *(shadow.ref for shadow in policies.shadows), *budgets)
        if in_force == self._in_force:
            return None
        self._in_force = in_force
        return policies

    def _tell(self, refusal: PublicationRefused, offset: int | None, *, is_logged: bool) -> None:
        self._metrics.count(Metric.POLICY_RELOAD_FAILURES, reason=refusal.why.value)
        if is_logged:
            extra = {"topic": self._topic, "offset": offset, "refusal": refusal.why.value, "reasons": refusal.reasons}
            logger.error("policy publication has no effect", extra=extra)
