"""Load a policy bundle: bytes to a checked, hashed `PolicyBundle`, or every reason why not."""

from importlib import resources

from topology.bundle import Category, PolicyBundle
from topology.bundle_checks import bundle_faults
from topology.documents import digest, part, parts, raise_all, read_document, without

__all__ = ["PolicyBundle", "load_bundle", "packaged_bundle"]

PACKAGED = "policies/safe-completion-core.yaml"


def load_bundle(raw: bytes) -> PolicyBundle:
    """The bundle in a YAML or JSON document.

    Raises PolicyError with every reason, each with its path. A `content_hash` in the document must be right.
    """
    document = read_document(raw, "bundle")
    content_hash = digest(without(document, "content_hash"))
    reasons: list[str] = []
    if document.get("content_hash", "") not in {"", content_hash}:
        reasons.append(f"content_hash: does not match the content, which hashes to {content_hash}")
    parts("categories", document.get("categories", {}), Category, reasons)
    raise_all(reasons, "bundle")
    bundle = part("$", {**document, "content_hash": content_hash}, PolicyBundle, reasons)
    if bundle is not None:
        reasons.extend(bundle_faults(bundle))
    raise_all(reasons, "bundle")
    assert bundle is not None
    return bundle


def packaged_bundle() -> PolicyBundle:
    """The policy that ships with this package. Reads one file; keep the result."""
    return load_bundle(resources.files("topology").joinpath(PACKAGED).read_bytes())
