"""Loading a tenant's overlay: taken or rejected as a whole, with every reason."""

import msgspec
import pytest

from tests.topology.decision.policy_world import ADULT, Document, bundle, labels
from topology.contract.errors import PolicyError
from topology.contract.events import Grant
from topology.contract.labels import CategoryId, Intent, RequestFinding
from topology.decision.plan import plan
from topology.policy.overlays import STRICTEST, TenantOverlay, grant_uses, load_overlay, signed_fields
from topology.policy.signatures import Proof, Signed

RAISE: Document = {"to": 3, "by": "developer", "attestation": "licence 7"}
GRANT = Grant(
    grant="bio_trusted_access", tenant="acme", subject="*", not_before=100, not_after=200, key_id="k1", signature="good"
)


def is_good(kind: Signed, fields: object, key_id: str, signature: str) -> Proof:
    """A check whose one key signs everything with the word `good`, and did so with `old` before there were domains."""
    del kind, fields
    proofs = {("k1", "good"): Proof.GENUINE, ("k1", "old"): Proof.UNDOMAINED}
    return proofs.get((key_id, signature), Proof.FALSE)


def load(**fields: object) -> TenantOverlay:
    """The overlay with these fields."""
    return load_overlay(msgspec.json.encode({"tenant_id": "acme", "version": "7"} | fields), bundle(), is_good)


def grant(**fields: object) -> Document:
    """The grant with these fields."""
    return msgspec.to_builtins(GRANT) | fields


def test_an_overlay_names_itself_by_its_content() -> None:
    plain = load()
    assert plain.ref.startswith("acme@7#")
    assert plain.ref == load().ref
    assert plain.ref != load(caps={"hate": 1}).ref
    assert STRICTEST.ref == "strictest@1"


def test_yaml_and_json_give_the_same_overlay() -> None:
    written = b"tenant_id: acme\nversion: '7'\ncaps: {hate: 1}\n"
    assert load_overlay(written, bundle(), None) == load(caps={"hate": 1})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"caps": {"made.up": 1}}, r"caps\.made\.up: unknown category"),
        ({"caps": {"hate": 5}}, "caps"),
        ({"caps": {"self_harm.intent": 0}}, r"caps\.self_harm\.intent: would disable crisis_support"),
        ({"caps": {"self_harm.method": 0}}, r"caps\.self_harm\.method: would disable crisis_support"),
        ({"disabled_modes": ["crisis_support"]}, "disabled_modes"),
        ({"raises": {"made.up": RAISE}}, r"raises\.made\.up: unknown category"),
        ({"raises": {"hate": RAISE}}, r"raises\.hate: a rule at root level"),
        ({"raises": {"gore": RAISE}}, r"raises\.gore: a rule at system level"),
        ({"raises": {"harassment": RAISE | {"to": 4}}}, r"raises\.harassment: to D4, at most D3"),
        ({"raises": {"regulated_advice.legal": RAISE | {"by": "user"}}}, r"by user, needs developer"),
        ({"raises": {"harassment": RAISE | {"by": "root"}}}, r"by root, which no tenant is"),
        ({"raises": {"regulated_advice.legal": {"to": 3, "by": "developer"}}}, "needs an attestation"),
        ({"grants": [grant(signature="bad")]}, r"grants\[0\]: its signature"),
        ({"grants": [grant(signature="")]}, r"grants\[0\]: its signature"),
        ({"grants": [grant(tenant="other")]}, r"grants\[0\]: not for the whole"),
        ({"grants": [grant(subject="bob")]}, r"grants\[0\]: not for the whole"),
        ({"grants": [grant(grant="made_up")]}, r"grants\[0\]: unknown grant"),
        ({"deployment": "first_party", "viewpoint": "ours"}, "viewpoint"),
        ({"deployment": "first_party", "waives": ["objectivity"]}, "viewpoint"),
        ({"waives": ["made_up"]}, "unknown soft rule made_up"),
        ({"legal_notices": [{"category": "hate", "text": "x"}]}, r"legal_notices\[0\]"),
        ({"signature": "bad", "key_id": "k1"}, "signature: does not verify"),
        ({"content_hash": "0" * 64}, "content_hash"),
        ({"tenant_id": ""}, "tenant_id"),
    ],
)
def test_an_unsound_overlay_is_rejected(fields: Document, reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        load(**fields)


def test_all_reasons_are_given_at_once() -> None:
    with pytest.raises(PolicyError) as refusal:
        load(caps={"made.up": 1}, raises={"hate": RAISE}, waives=["made_up"], grants=[grant(signature="bad")])
    assert len(refusal.value.reasons) == 4


def test_without_a_key_nothing_signed_is_believed() -> None:
    signed = msgspec.json.encode({"tenant_id": "acme", "version": "7", "grants": [GRANT]})
    with pytest.raises(PolicyError, match="signature"):
        load_overlay(signed, bundle(), None)


def test_a_signature_covers_the_whole_overlay_but_itself() -> None:
    seen: list[tuple[Signed, object]] = []

    def remember(kind: Signed, fields: object, key_id: str, signature: str) -> Proof:
        seen.append((kind, fields))
        return is_good(kind, fields, key_id, signature)

    fields = {"tenant_id": "acme", "version": "7", "key_id": "k1", "caps": {"hate": 1}}
    load_overlay(msgspec.json.encode(fields | {"signature": "good"}), bundle(), remember)
    assert seen == [(Signed.OVERLAY, fields)]


def test_a_grant_is_signed_without_its_signature() -> None:
    assert signed_fields(GRANT) == {k: v for k, v in grant().items() if k != "signature"}


def test_what_was_signed_without_its_domain_is_refused_and_says_so() -> None:
    with pytest.raises(PolicyError, match="sign it again") as refusal:
        load(key_id="k1", signature="old", grants=[grant(signature="old")])
    assert [reason.split(": ")[1] for reason in refusal.value.reasons] == ["signature", "grants[0]"]


@pytest.mark.parametrize(("now_ms", "status"), [(99, "not_yet_valid"), (100, "used"), (199, "used"), (200, "expired")])
def test_a_grant_counts_only_while_it_is_valid(now_ms: int, status: str) -> None:
    assert [use.status for use in grant_uses(load(grants=[GRANT]), now_ms)] == [status]


def test_a_sound_raise_lifts_its_category_and_no_other() -> None:
    overlay = load(raises={"regulated_advice.medical": RAISE}, age_default="adult")
    for name, ceiling in (("regulated_advice.medical", 3), ("regulated_advice.legal", 2)):
        asked = labels(RequestFinding(category=CategoryId(name), harm=2, intent=Intent.BENIGN, asked_detail=3))
        made = plan(bundle(), asked, overlay=overlay, user=ADULT, grants=())
        assert made.ceilings == {name: ceiling}


def test_a_cap_for_legal_reasons_obliges_to_say_so() -> None:
    overlay = load(
        caps={"drugs.use": 1},
        legal_notices=[{"category": "drugs.use", "text": "Details are left out: local law."}],
    )
    asked = labels(RequestFinding(category=CategoryId("drugs.use"), harm=1, intent=Intent.BENIGN, asked_detail=2))
    made = plan(bundle(), asked, overlay=overlay, user=ADULT, grants=())
    assert made.must_include == ("legal_notice",)
    plain = plan(bundle(), labels(), overlay=overlay, user=ADULT, grants=())
    assert plain.must_include == ()
