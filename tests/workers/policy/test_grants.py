"""A grant holds only as the platform signed it: for this tenant, this subject, and now."""

import base64

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from topology.contract.errors import SettingsError
from topology.contract.events import ConversationEvent, Grant, GrantUse, Message, Role, TextPart, UserContext
from topology.policy.overlays import signed_fields
from topology.policy.signatures import Signed, undomained_message
from workers.policy.grants import Ed25519GrantVerifier, sign_grant
from workers.policy.signing import public_keys

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
VERIFIER = Ed25519GrantVerifier({"platform": KEY.public_key()})
NOW = 1_750_000_000_000

GRANT = sign_grant(
    Grant(
        grant="erotica_adult",
        tenant="acme",
        subject="user-7",
        not_before=NOW - 1000,
        not_after=NOW + 1000,
        key_id="platform",
        signature="",
    ),
    KEY,
)


def _event(*grants: Grant, subject: str = "user-7", tenant: str = "acme") -> ConversationEvent:
    return ConversationEvent(
        event_id="e",
        conversation_id="c",
        tenant_id=tenant,
        messages=(Message(role=Role.USER, parts=(TextPart(text="hi"),)),),
        user=UserContext(subject=subject, grants=grants),
    )


def _status(grant: Grant, now_ms: int = NOW, subject: str = "user-7", tenant: str = "acme") -> str:
    (use,) = VERIFIER.verify(_event(grant, subject=subject, tenant=tenant), now_ms)
    return use.status


def test_a_signed_grant_is_used() -> None:
    assert VERIFIER.verify(_event(GRANT), NOW) == (GrantUse(grant="erotica_adult", key_id="platform", status="used"),)


@pytest.mark.parametrize(
    ("now_ms", "status"),
    [(NOW - 1001, "not_yet_valid"), (NOW - 1000, "used"), (NOW + 1000, "used"), (NOW + 1001, "expired")],
)
def test_both_ends_of_its_time_belong_to_it(now_ms: int, status: str) -> None:
    assert _status(GRANT, now_ms) == status


@pytest.mark.parametrize(("subject", "tenant"), [("user-8", "acme"), ("user-7", "other"), ("", "acme")])
def test_a_grant_of_another_is_foreign(subject: str, tenant: str) -> None:
    assert _status(GRANT, subject=subject, tenant=tenant) == "foreign"


def test_a_grant_for_nobody_is_foreign_to_an_event_of_nobody() -> None:
    nobody = sign_grant(msgspec.structs.replace(GRANT, subject=""), KEY)
    assert _status(nobody, subject="") == "foreign"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grant", "cyber_authorized"),
        ("tenant", "other"),
        ("subject", "user-8"),
        ("not_before", 0),
        ("not_after", NOW * 2),
        ("signature", ""),
        ("signature", "not base64 at all"),
        ("signature", base64.b64encode(bytes(64)).decode()),
        ("signature", sign_grant(GRANT, OTHER).signature),
    ],
)
def test_any_change_makes_it_altered(field: str, value: str | int) -> None:
    changed = msgspec.structs.replace(GRANT, **{field: value})
    assert _status(changed, tenant=changed.tenant, subject=changed.subject) == "altered"


def test_a_key_that_is_not_ours_is_unknown() -> None:
    assert _status(sign_grant(msgspec.structs.replace(GRANT, key_id="theirs"), OTHER)) == "unknown_key"
    assert Ed25519GrantVerifier({}).verify(_event(GRANT), NOW)[0].status == "unknown_key"


def test_a_grant_in_the_form_of_earlier_versions_is_refused_until_settings_accept_it() -> None:
    written = KEY.sign(undomained_message(Signed.GRANT, signed_fields(GRANT)))
    old = msgspec.structs.replace(GRANT, signature=base64.b64encode(written).decode())
    assert _status(old) == "undomained"
    accepting = Ed25519GrantVerifier({"platform": KEY.public_key()}, accept_undomained=True)
    assert [use.status for use in accepting.verify(_event(old), NOW)] == ["used"]


def test_one_status_per_grant_in_order() -> None:
    late = sign_grant(msgspec.structs.replace(GRANT, not_after=NOW - 1), KEY)
    assert [use.status for use in VERIFIER.verify(_event(late, GRANT, late), NOW)] == ["expired", "used", "expired"]


TIMES = st.integers(0, 2**60)
GRANTS = st.builds(
    Grant,
    grant=st.text(),
    tenant=st.text(),
    subject=st.text(),
    not_before=TIMES,
    not_after=TIMES,
    key_id=st.sampled_from(["platform", "x"]),
    signature=st.text(),
)


@given(GRANTS)
def test_garbage_never_holds_and_never_raises(grant: Grant) -> None:
    assert _status(grant) in {"altered", "unknown_key"}


def test_keys_are_checked_when_loaded() -> None:
    raw = KEY.public_key().public_bytes_raw()
    assert public_keys({"a": base64.b64encode(raw).decode()}, "grants.keys") == {"a": KEY.public_key()}
    with pytest.raises(SettingsError, match=r"policy\.keys\.a = not base64"):
        public_keys({"a": "???"}, "policy.keys")
    with pytest.raises(SettingsError, match="5 bytes"):
        public_keys({"a": base64.b64encode(b"short").decode()}, "grants.keys")
