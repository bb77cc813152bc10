"""One form of everything that is signed: a signature of one kind is never one of another."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from topology.policy.signatures import Proof, Signed, signed_message, undomained_message
from workers.policy.signing import sign, signature_check

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {"k1": KEY.public_key()}
FIELDS = {"tenant": "acme", "grant": "erotica_adult"}
CHECK = signature_check(KEYS)


def test_what_is_signed_names_its_domain_and_version_before_the_fields() -> None:
    assert signed_message(Signed.GRANT, FIELDS) == b'sluicegate grant v1\n{"grant":"erotica_adult","tenant":"acme"}'
    assert {signed_message(kind, {}).partition(b"\n")[0].decode() for kind in Signed} == {
        "sluicegate grant v1",
        "sluicegate overlay v1",
        "sluicegate canary v1",
        "sluicegate policy v1",
    }


@pytest.mark.parametrize("kind", Signed)
def test_the_same_fields_signed_as_one_kind_prove_nothing_of_another(kind: Signed) -> None:
    signature = sign(kind, FIELDS, KEY)
    assert [other for other in Signed if CHECK(other, FIELDS, "k1", signature) is not Proof.FALSE] == [kind]


@pytest.mark.parametrize("kind", Signed)
def test_the_form_without_a_domain_is_told_from_a_forgery(kind: Signed) -> None:
    old = base64.b64encode(KEY.sign(undomained_message(kind, FIELDS))).decode()
    assert CHECK(kind, FIELDS, "k1", old) is Proof.UNDOMAINED
    assert signature_check(KEYS, accept_undomained=True)(kind, FIELDS, "k1", old) is Proof.GENUINE
    assert CHECK(kind, FIELDS | {"more": 1}, "k1", old) is Proof.FALSE


def test_an_unknown_key_an_odd_signature_and_half_a_surrogate_pair_prove_nothing() -> None:
    assert CHECK(Signed.GRANT, FIELDS, "k2", sign(Signed.GRANT, FIELDS, KEY)) is Proof.FALSE
    assert CHECK(Signed.GRANT, FIELDS, "k1", "not base64") is Proof.FALSE
    assert CHECK(Signed.GRANT, {"tenant": "\udc00"}, "k1", "AAAA") is Proof.FALSE
