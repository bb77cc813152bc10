"""A tenant's overlay on the policy: the limits it tightens or may loosen, and the texts its answers must carry.

An overlay is checked when it is loaded, never at run time, and is accepted or rejected as a whole.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from topology.contract.events import GRANTS_MAX, Grant, GrantUse, Id
from topology.contract.labels import CategoryId, Level
from topology.policy.bundle import AgeDefault, Authority, Category, PolicyBundle, Words
from topology.policy.documents import digest, part, parts, raise_all, read_document, without
from topology.policy.signatures import UNDOMAINED_REASON, CheckSignature, Proof, Signed

WHOLE_TENANT = "*"
"""The subject of a grant that an overlay carries."""

NOTICES_MAX = 16
"""The most entries in each list of an overlay."""
LOCALE = r"^([A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*)?\Z"
REGULATED = "regulated_advice."

Text = Annotated[str, Meta(max_length=4000)]


class Deployment(StrEnum):
    """The owner of the product in which answers appear; first-party products take no viewpoint."""

    FIRST_PARTY = "first_party"
    THIRD_PARTY = "third_party"


class Raise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ceiling lifted to `to`, with the authority for it and its ground (a licence, for regulated advice)."""

    to: Level
    by: Authority
    attestation: Annotated[str, Meta(max_length=400)] = ""


class LegalNotice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The notice to readers if a cap exists because of local law: the kind of material, and the reason."""

    category: CategoryId
    text: Words


class TenantOverlay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes of one tenant. `age_default` None means the bundle's.

    With `heeds_stated_age`, an age that a user states makes even a verified adult younger.

    `waives` names soft rules that do not count for this tenant; a `viewpoint` waives objectivity. `content_hash` is
    filled in by the loader. `signature` covers the rest of the document; empty means unsigned.
    """

    tenant_id: Id
    version: Id
    deployment: Deployment = Deployment.THIRD_PARTY
    caps: dict[CategoryId, Level] = {}
    raises: dict[CategoryId, Raise] = {}
    grants: Annotated[tuple[Grant, ...], Meta(max_length=GRANTS_MAX)] = ()
    viewpoint: Text = ""
    persona: Text = ""
    scope: Text = ""
    age_default: AgeDefault | None = None
    heeds_stated_age: bool = False
    locale: Annotated[str, Meta(max_length=35, pattern=LOCALE)] = ""
    legal_notices: Annotated[tuple[LegalNotice, ...], Meta(max_length=NOTICES_MAX)] = ()
    must_include: Annotated[tuple[Words, ...], Meta(max_length=NOTICES_MAX)] = ()
    may_disclose: Annotated[tuple[Words, ...], Meta(max_length=NOTICES_MAX)] = ()
    waives: Annotated[tuple[str, ...], Meta(max_length=NOTICES_MAX)] = ()
    key_id: str = ""
    signature: str = ""
    content_hash: str = ""

    @property
    def ref(self) -> str:
        """Return the name of this overlay in audit records: `tenant_id@version#<first 12 hex digits of its hash>`.

        The built-in overlay is not a document and has no hash.
        """
        return f"{self.tenant_id}@{self.version}#{self.content_hash[:12]}".removesuffix("#")

    @property
    def waived(self) -> frozenset[str]:
        """Return the soft rules that do not count for this tenant."""
        return frozenset(self.waives) | ({"objectivity"} if self.viewpoint else frozenset())


STRICTEST = TenantOverlay(
    tenant_id="strictest", version="1", deployment=Deployment.FIRST_PARTY, age_default=AgeDefault.TEEN
)
"""The overlay of every tenant without one: teen ceilings if the age is unknown, no raises, no waivers."""


def load_overlay(raw: bytes, bundle: PolicyBundle, check_signature: CheckSignature | None) -> TenantOverlay:
    """Load the overlay in a YAML or JSON document and check it under `bundle`.

    Raises PolicyError with every reason. `check_signature` None means that no key is known, so everything that is
    signed, or has to be, is rejected. The expiry of grants is checked by `grant_uses`, not here.
    """
    document = read_document(raw, "overlay")
    reasons: list[str] = []
    parts("raises", document.get("raises", {}), Raise, reasons)
    raise_all(reasons, "overlay")
    content_hash = digest(without(document, "content_hash"))
    if document.get("content_hash", "") not in {"", content_hash}:
        reasons.append("content_hash: does not match the content")
    overlay = part("$", {**document, "content_hash": content_hash}, TenantOverlay, reasons)
    if overlay is not None:
        reasons.extend(_faults(overlay, bundle))
        reasons.extend(_signature_faults(overlay, document, check_signature))
    raise_all(reasons, "overlay")
    assert overlay is not None
    return overlay


def signed_fields(grant: Grant) -> dict[str, object]:
    """Return what a grant's signature covers: all other fields."""
    return without(msgspec.to_builtins(grant), "signature")


def grant_uses(overlay: TenantOverlay, now_ms: int) -> tuple[GrantUse, ...]:
    """Return the use of each of an overlay's grants at `now_ms`; only those with status `used` count."""

    def status(grant: Grant) -> str:
        if now_ms < grant.not_before:
            return "not_yet_valid"
        return "used" if now_ms < grant.not_after else "expired"

    return tuple(GrantUse(grant=grant.grant, key_id=grant.key_id, status=status(grant)) for grant in overlay.grants)


def _faults(overlay: TenantOverlay, bundle: PolicyBundle) -> Iterator[str]:
    for name in overlay.caps:
        category = bundle.categories.get(name)
        if category is None:
            yield f"caps.{name}: unknown category"
        elif category.force_mode in bundle.tenant_floors:
            yield f"caps.{name}: would disable {category.force_mode}"
    for name, raised in overlay.raises.items():
        category = bundle.categories.get(name)
        faults = ["unknown category"] if category is None else _raise_faults(name, category, raised)
        yield from (f"raises.{name}: {fault}" for fault in faults)
    for index, notice in enumerate(overlay.legal_notices):
        if notice.category not in overlay.caps:
            yield f"legal_notices[{index}]: {notice.category} has no cap to explain"
    for index, grant in enumerate(overlay.grants):
        if grant.grant not in bundle.grant_names:
            yield f"grants[{index}]: unknown grant"
    yield from (f"waives: unknown soft rule {name}" for name in overlay.waives if name not in bundle.soft_rules)
    yield from (f"waives: {name} is above the tenant" for name in overlay.waives if _is_above_tenant(bundle, name))
    if overlay.deployment is Deployment.FIRST_PARTY and "objectivity" in overlay.waived:
        yield "viewpoint: a first-party deployment takes none"


def _is_above_tenant(bundle: PolicyBundle, name: str) -> bool:
    rule = bundle.soft_rules.get(name)
    return rule is not None and rule.authority.rank < Authority.DEVELOPER.rank


def _raise_faults(name: CategoryId, category: Category, raised: Raise) -> Iterator[str]:
    if category.loosen is None:
        yield f"a rule at {category.authority} level is not raised by tenants"
        return
    if raised.to > category.loosen.to:
        yield f"to D{raised.to}, at most D{category.loosen.to}"
    if raised.by.rank > category.loosen.by.rank:
        yield f"by {raised.by}, needs {category.loosen.by}"
    if raised.by.rank < Authority.DEVELOPER.rank:
        yield f"by {raised.by}, which no tenant is"
    if name.startswith(REGULATED) and not any(letter.isalnum() for letter in raised.attestation):
        yield "needs an attestation of licence"


def _signature_faults(
    overlay: TenantOverlay, document: dict[str, object], check_signature: CheckSignature | None
) -> Iterator[str]:
    def fault(kind: Signed, fields: object, key_id: str, signature: str) -> str:
        proof = Proof.FALSE
        if signature and check_signature is not None:
            proof = check_signature(kind, fields, key_id, signature)
        return {Proof.GENUINE: "", Proof.UNDOMAINED: UNDOMAINED_REASON, Proof.FALSE: "does not verify"}[proof]

    fields = without(document, "signature", "content_hash")
    if overlay.signature and (why := fault(Signed.OVERLAY, fields, overlay.key_id, overlay.signature)):
        yield f"signature: {why}"
    for index, grant in enumerate(overlay.grants):
        if grant.tenant != overlay.tenant_id or grant.subject != WHOLE_TENANT:
            yield f"grants[{index}]: not for the whole of this tenant"
        if why := fault(Signed.GRANT, signed_fields(grant), grant.key_id, grant.signature):
            yield f"grants[{index}]: its signature {why}"
