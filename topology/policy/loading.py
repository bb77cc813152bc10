"""The loader of policy bundles: bytes to a checked, hashed `PolicyBundle`, or every reason why not."""

from collections.abc import Mapping
from importlib import resources
from typing import cast

from topology.policy.bundle import (
    Category,
    ConductRule,
    GuardGroup,
    HelpLine,
    Identifier,
    Localised,
    ModeRule,
    Obligation,
    PolicyBundle,
    SoftRule,
    VerdictRow,
)
from topology.policy.documents import digest, part, parts, raise_all, read_document, without
from topology.policy.faults import bundle_faults

__all__ = ["PolicyBundle", "load_bundle", "packaged_bundle"]

PACKAGED = "policies/safe-completion-core.yaml"


_SECTIONS: Mapping[str, type] = {
    "categories": Category,
    "modes": ModeRule,
    "add_ons": ModeRule,
    "obligations": Obligation,
    "soft_rules": SoftRule,
    "conduct": ConductRule,
    "withholds": str,
    "offers": Localised,
    "templates": Localised,
    "help_lines": HelpLine,
    "guard_groups": GuardGroup,
    "crosswalk": dict[Identifier, tuple[str, ...]],
}
"""The type of an entry in each named section; entries are read one by one, so that every fault names its own."""


def load_bundle(raw: bytes) -> PolicyBundle:
    """Load the bundle in a YAML or JSON document.

    Raises PolicyError with every reason, each with its path. A `content_hash` in the document must be right.
    """
    document = read_document(raw, "bundle")
    content_hash = digest(without(document, "content_hash"))
    reasons: list[str] = []
    if document.get("content_hash", "") not in {"", content_hash}:
        reasons.append(f"content_hash: does not match the content, which hashes to {content_hash}")
    for section, kind in _SECTIONS.items():
        parts(section, document.get(section, {}), kind, reasons)
    parts("rules", _rows_by_id(document.get("rules", [])), VerdictRow, reasons)
    raise_all(reasons, "bundle")
    bundle = part("$", {**document, "content_hash": content_hash}, PolicyBundle, reasons)
    if bundle is not None:
        reasons.extend(bundle_faults(bundle))
    raise_all(reasons, "bundle")
    assert bundle is not None
    return bundle


def packaged_bundle() -> PolicyBundle:
    """Load the policy that ships with this package. Reads one file; keep the result."""
    return load_bundle(resources.files("topology").joinpath(PACKAGED).read_bytes())


def _rows_by_id(rows: object) -> object:
    """Key verdict rows by their ids, for the paths of faults; by their index if they have none."""
    if not isinstance(rows, list):
        return rows
    found = cast("list[object]", rows)
    named = [cast("dict[str, object]", row).get("id") if isinstance(row, dict) else None for row in found]
    return {str(name or place): row for place, (name, row) in enumerate(zip(named, found, strict=True))}
