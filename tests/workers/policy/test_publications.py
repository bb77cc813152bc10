"""What the publications on the policy topic amount to: only what the platform signed, whatever order it comes in."""

import base64
import itertools
from typing import Any

import msgspec
import pytest
from msgspec import structs

from tests.plugins.policy_publisher import (
    CATEGORY,
    KEYS,
    LOW,
    PLATFORM,
    POLICY_ID,
    STRANGER,
    bundle,
    document,
    overlay,
    publication,
)
from topology.contract.errors import PolicyRefusal, PublicationRefused
from topology.contract.events import SHADOWS_MAX
from topology.policy.budgets import UNLIMITED
from topology.policy.documents import DOCUMENT_BYTES_MAX
from topology.policy.envelopes import ENVELOPE_BYTES_MAX, Envelope, PublicationKind, holding
from topology.policy.in_force import Policies
from topology.policy.overlays import STRICTEST
from topology.policy.signatures import Signed, undomained_message
from workers.policy.publishing import without_effect
from workers.policy.topic import PUBLICATIONS_MAX, Publications
from workers.settings import PolicySettings, Settings, SignatureSettings

OVERLAY, SHADOW, BUDGET = PublicationKind.OVERLAY, PublicationKind.SHADOW, PublicationKind.BUDGET


def settings_of(**policy: Any) -> Settings:
    return Settings(policy=PolicySettings(source="topic", keys=KEYS, **policy))


def known(*records: bytes, **policy: Any) -> Publications:
    publications = Publications(settings_of(**policy))
    for record in records:
        publications.take(record)
    return publications


def policies(*records: bytes, **policy: Any) -> Policies:
    found = known(*records, **policy).found()
    assert found.policies is not None
    return found.policies


def refusals(*records: bytes, **policy: Any) -> list[tuple[str, PolicyRefusal]]:
    return [(envelope.title, refusal.why) for envelope, refusal in known(*records, **policy).found().refused]


def refused(raw: bytes | None) -> PolicyRefusal:
    with pytest.raises(PublicationRefused) as caught:
        known().take(raw)
    return caught.value.why


def changed(raw: bytes, **fields: Any) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(raw), **fields})


V1, V2 = bundle("1.0.0", 1), bundle("1.1.0", 2, LOW)


def test_the_highest_of_rising_versions_holds() -> None:
    assert policies(V1, V2).bundle.version == "1.1.0"
    assert refusals(V1, V2) == []


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (None, PolicyRefusal.TOMBSTONE),
        (b"x" * (ENVELOPE_BYTES_MAX + 1), PolicyRefusal.OVERSIZED),
        (b"", PolicyRefusal.MALFORMED),
        (b"policy: {id: a}", PolicyRefusal.MALFORMED),
        (b'{"kind": "bundle"}', PolicyRefusal.MALFORMED),
        (changed(V1, surprise=1), PolicyRefusal.MALFORMED),
        (changed(V1, version="newest"), PolicyRefusal.MALFORMED),
        (V1.replace(b"regulated", b"\\udc00ted", 1), PolicyRefusal.MALFORMED),
        (bundle("1.0.0", 1, key=STRANGER), PolicyRefusal.BAD_SIGNATURE),
        (bundle("1.0.0", 1, key_id="nobody"), PolicyRefusal.UNKNOWN_KEY),
        (changed(V1, signature=""), PolicyRefusal.BAD_SIGNATURE),
        (changed(V1, key_id="other"), PolicyRefusal.UNKNOWN_KEY),
        (publication("1.0.0", b"", 1), PolicyRefusal.INVALID),
    ],
)
def test_a_record_that_the_platform_did_not_publish_has_no_effect(raw: bytes | None, why: PolicyRefusal) -> None:
    assert refused(raw) is why


@pytest.mark.parametrize(
    "change",
    [
        {"version": "9.9.9"},
        {"rollback": True},
        {"issued_ms": 99},
        {"id": "another"},
        {"kind": "shadow"},
        {"document": document("1.0.0", LOW).decode()},
    ],
)
def test_no_field_of_a_publication_can_be_altered(change: dict[str, object]) -> None:
    assert refused(changed(V1, **change)) is PolicyRefusal.BAD_SIGNATURE


def test_a_publication_in_the_form_of_earlier_versions_is_refused_until_settings_accept_it() -> None:
    fields = msgspec.json.decode(V1, type=Envelope).signed_fields()
    written = PLATFORM.sign(undomained_message(Signed.POLICY, fields))
    old = changed(V1, signature=base64.b64encode(written).decode())
    assert refused(old) is PolicyRefusal.UNDOMAINED
    accepting = structs.replace(settings_of(), signatures=SignatureSettings(accept_undomained=True))
    assert Publications(accepting).take(old)


def test_a_lower_version_needs_a_signed_roll_back() -> None:
    lower = bundle("1.0.5", 3)
    assert policies(V2, lower).bundle.version == "1.1.0"
    assert [why for _, why in refusals(V2, lower)] == [PolicyRefusal.LOWER_VERSION]
    assert policies(V2, bundle("1.0.5", 3, rollback=True)).bundle.version == "1.0.5"


def test_after_a_roll_back_versions_rise_from_there() -> None:
    rolled = bundle("1.0.0", 3, rollback=True)
    assert policies(V2, rolled, bundle("1.0.1", 4)).bundle.version == "1.0.1"


NOW_MS = 1_750_000_000_000
YEAR_MS = 365 * 86_400_000


class Clock:
    """A clock that the test sets."""

    now = NOW_MS

    def now_ms(self) -> int:
        return self.now


def seen_at(clock: Clock, *records: bytes) -> Publications:
    publications = Publications(settings_of(ahead_max_s=300), clock.now_ms)
    for record in records:
        publications.take(record)
    return publications


def version_of(publications: Publications) -> str:
    found = publications.found()
    assert found.policies is not None
    return found.policies.bundle.version


def test_what_is_dated_too_far_ahead_has_no_effect_and_a_roll_back_has() -> None:
    ahead = bundle("1.2.0", NOW_MS + 10 * YEAR_MS)
    publications = seen_at(Clock(), V1, V2, ahead, bundle("1.0.0", NOW_MS, rollback=True))
    assert version_of(publications) == "1.0.0"
    ((_, refusal),) = publications.found().refused
    assert (refusal.why, "policy.ahead_max_s (300 s)" in str(refusal)) == (PolicyRefusal.DATED_AHEAD, True)


def test_the_bound_belongs_to_what_is_accepted() -> None:
    assert version_of(seen_at(Clock(), V1, bundle("1.2.0", NOW_MS + 300_000))) == "1.2.0"
    assert version_of(seen_at(Clock(), V1, bundle("1.2.0", NOW_MS + 300_001))) == "1.0.0"


def test_every_worker_takes_it_when_its_date_comes_whenever_the_worker_started() -> None:
    clock = Clock()
    publications = seen_at(clock, V1, bundle("1.2.0", NOW_MS + YEAR_MS))
    assert (version_of(publications), publications.is_due) == ("1.0.0", False)
    clock.now = NOW_MS + YEAR_MS - 300_000
    assert publications.is_due
    assert (version_of(publications), publications.is_due) == ("1.2.0", False)


def test_a_roll_back_wins_over_the_versions_that_it_names_whatever_their_date() -> None:
    clock = Clock()
    ahead, near = bundle("1.3.0", NOW_MS + YEAR_MS), bundle("1.2.0", NOW_MS + 200_000)
    back = bundle("1.0.0", NOW_MS, rollback=True, over=("1.2.0", "1.3.0"))
    for records in ((V1, ahead, near, back), (back, near, ahead, V1)):
        assert version_of(seen_at(clock, *records)) == "1.0.0"
    clock.now = NOW_MS + 2 * YEAR_MS
    assert version_of(seen_at(clock, V1, ahead, near, back)) == "1.0.0"
    assert version_of(seen_at(clock, ahead, near, back, bundle("1.2.1", NOW_MS + 300_000))) == "1.2.1"


def test_what_a_roll_back_took_back_returns_by_a_later_roll_back_alone() -> None:
    back = bundle("1.0.0", 3, rollback=True, over=("1.1.0",))
    assert policies(V1, V2, back, bundle("1.1.0", 4)).bundle.version == "1.0.0"
    assert policies(V1, V2, back, bundle("1.1.0", 4, rollback=True)).bundle.version == "1.1.0"
    assert policies(V1, V2, back, bundle("1.1.0", 4, rollback=True, over=("1.0.0",))).bundle.version == "1.1.0"


def test_only_a_roll_back_takes_versions_back() -> None:
    with pytest.raises(ValueError, match="only a roll-back"):
        bundle("1.0.0", 3, over=("1.1.0",))
    assert refused(changed(V1, over=["1.1.0"])) is PolicyRefusal.MALFORMED


def test_publishing_says_what_stays_in_effect_instead() -> None:
    near, back = bundle("1.2.0", NOW_MS + 200_000), bundle("1.0.0", NOW_MS, rollback=True)
    (reason,) = without_effect([back], seen_at(Clock(), V1, near, back).found())
    assert reason.startswith(f"bundle {POLICY_ID}@1.2.0 stays in effect")
    named = bundle("1.0.0", NOW_MS, rollback=True, over=("1.2.0",))
    assert without_effect([named], seen_at(Clock(), V1, near, named).found()) == []
    ahead = bundle("1.2.0", NOW_MS + YEAR_MS)
    reasons = without_effect([ahead], seen_at(Clock(), V1, ahead).found())
    assert any("ahead_max_s" in each for each in reasons)


def test_versions_are_compared_as_numbers() -> None:
    assert policies(bundle("1.9.0", 1), bundle("1.10.0", 2)).bundle.version == "1.10.0"


def test_order_and_repetition_change_nothing() -> None:
    """So nobody who can only write old records again brings anything back, not even a roll-back."""
    records = (V1, V2, bundle("1.0.0", 3, rollback=True), bundle("1.2.0", 4), bundle("1.1.5", 5))
    for order in (records, records[::-1], records[2:] + records[:2]):
        assert policies(*order, *records[:3]).bundle.version == "1.2.0"


def test_which_publication_holds_depends_on_the_set_of_them_alone() -> None:
    envelopes = [
        Envelope(kind=OVERLAY, id="acme", version=version, issued_ms=issued_ms, rollback=rollback)
        for issued_ms, (version, rollback) in enumerate(
            [("1.0.0", False), ("1.2.0", False), ("1.1.0", False), ("1.0.0", True), ("1.0.9", False), ("1.0.8", False)]
        )
    ]
    for order in itertools.permutations(envelopes):
        held, low = holding(order)
        assert held is envelopes[4]
        assert low == [envelopes[2], envelopes[5]]


def test_version_min_holds_for_roll_backs_too() -> None:
    records = (V2, bundle("1.0.0", 3, rollback=True))
    assert policies(*records, version_min="1.1.0").bundle.version == "1.1.0"
    assert known(V1, version_min="2.0.0").found().policies is None


def test_a_broken_bundle_counts_as_not_published_and_says_why() -> None:
    broken = publication("1.2.0", document("1.2.0", (0, 1, 2)), 3)
    assert policies(V1, V2, broken).bundle.version == "1.1.0"
    ((_, refusal),) = known(V2, broken).found().refused
    assert refusal.why is PolicyRefusal.INVALID
    assert f"{CATEGORY}.fixed: rises with intent" in str(refusal)
    for garbage in (b"{", b"- a\n", b"a: " + b"x" * DOCUMENT_BYTES_MAX):
        assert policies(V1, publication("1.2.0", garbage, 3)).bundle.version == "1.0.0"


def test_a_publication_names_its_document_rightly() -> None:
    assert refusals(V1, publication("3.0.0", document("2.0.0"), 2))[0][1] is PolicyRefusal.INVALID
    assert refusals(V1, publication("1.0.0", overlay("acme"), 2, kind=OVERLAY, name="other"))[0][1] is (
        PolicyRefusal.INVALID
    )


def test_bundles_of_another_policy_do_not_hold_here() -> None:
    assert known(V1, id="another-policy").found().policies is None


def test_overlays_are_taken_with_their_bundle_and_withdrawn_by_a_signature() -> None:
    first = publication("1.0.0", overlay("acme", "1.0.0", {CATEGORY: 1}), 2, kind=OVERLAY, name="acme")
    assert policies(V1, first).overlay_of("acme").caps == {CATEGORY: 1}
    withdrawn = publication("1.0.0", b"", 3, kind=OVERLAY, name="acme")
    assert policies(V1, first, withdrawn).overlay_of("acme") is STRICTEST
    again = publication("1.0.1", overlay("acme", "1.0.1"), 4, kind=OVERLAY, name="acme")
    assert policies(V1, first, withdrawn, again).overlay_of("acme").version == "1.0.1"


def test_a_tenant_whose_newest_overlay_no_longer_holds_is_under_the_strictest_defaults() -> None:
    older = publication("1.0.0", overlay("acme", "1.0.0"), 2, kind=OVERLAY, name="acme")
    newer = publication("1.1.0", overlay("acme", "1.1.0", {"made.up": 0}), 3, kind=OVERLAY, name="acme")
    other = publication("1.0.0", overlay("other", "1.0.0"), 3, kind=OVERLAY, name="other")
    found = policies(V1, older, newer, other)
    assert found.overlay_of("acme") is STRICTEST
    assert found.overlay_of("other").tenant_id == "other"
    assert refusals(V1, older, newer, other) == [("overlay acme@1.1.0", PolicyRefusal.INVALID)]


def budget(version: str, issued_ms: int, weight: int, name: str = "acme") -> bytes:
    raw = msgspec.json.encode({"tenant_id": name, "version": version, "weight": weight})
    return publication(version, raw, issued_ms, kind=BUDGET, name=name)


def test_budgets_hold_and_are_withdrawn_by_a_signature() -> None:
    first, others = budget("1.0.0", 2, 3), budget("1.0.0", 2, 5, name="*")
    assert policies(V1, first).budget_of("acme").weight == 3
    assert policies(V1, first, others).budget_of("unknown").weight == 5
    withdrawn = publication("1.0.0", b"", 3, kind=BUDGET, name="acme")
    assert policies(V1, first, withdrawn).budget_of("acme") is UNLIMITED
    assert policies(V1, first, withdrawn, budget("1.0.1", 4, 7)).budget_of("acme").weight == 7


def test_a_budget_that_breaks_a_rule_counts_as_not_published() -> None:
    first, broken, lower = budget("1.0.0", 2, 3), budget("1.1.0", 3, 0), budget("0.9.0", 4, 9)
    assert policies(V1, first, broken, lower).budget_of("acme").weight == 3
    assert refusals(V1, first, broken, lower) == [
        ("budget acme@1.1.0", PolicyRefusal.INVALID),
        ("budget acme@0.9.0", PolicyRefusal.LOWER_VERSION),
    ]


def test_shadows_stand_beside_the_bundle_in_the_order_of_their_names() -> None:
    candidate = publication("2.0.0", document("2.0.0", LOW), 3, kind=SHADOW)
    found = policies(V1, candidate)
    assert (found.bundle.version, [shadow.version for shadow in found.shadows]) == ("1.0.0", ["2.0.0"])
    assert policies(V1, candidate, publication("2.0.0", b"", 4, kind=SHADOW)).shadows == ()
    assert policies(V1, publication("2.0.0", document("2.0.0", (0, 1, 2)), 3, kind=SHADOW)).shadows == ()


def test_more_shadows_than_the_bound_have_no_effect() -> None:
    names = [f"candidate-{index}" for index in range(SHADOWS_MAX + 1)]
    shadows = [publication("2.0.0", msgspec.json.encode(named(name)), 3, kind=SHADOW, name=name) for name in names]
    assert [shadow.policy_id for shadow in policies(V1, *shadows).shadows] == names[:SHADOWS_MAX]
    assert refusals(V1, *shadows) == [(f"shadow {names[-1]}@2.0.0", PolicyRefusal.INVALID)]


def named(policy_id: str) -> dict[str, Any]:
    """The packaged policy as a candidate of that name."""
    fields = msgspec.json.decode(document("2.0.0"))
    fields["policy"]["id"] = policy_id
    return fields


def test_each_publication_has_a_key_of_its_own() -> None:
    keys = [
        msgspec.json.decode(raw, type=Envelope).key for raw in (V1, V2, bundle("1.0.0", 3), bundle("1.0.0", 1, LOW))
    ]
    assert len(set(keys)) == 4


def test_the_number_of_publications_kept_is_bounded_and_what_holds_is_kept() -> None:
    publications = known(V2)
    for number in range(PUBLICATIONS_MAX + 20):
        raw = publication("1.0.0", b"", 100 + number, kind=OVERLAY, name="acme")
        assert publications.take(raw)
    found = publications.found()
    assert found.policies is not None
    assert found.policies.bundle.version == "1.1.0"
    assert publications.count == PUBLICATIONS_MAX
