"""The sections of the published specification that a policy follows: their anchors and levels.

The tables are data beside the policies, one file for each version of the specification.
"""

from importlib import resources
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from topology.policy.bundle import Authority, SpecReference


class Exempt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A category whose level differs from that of its section, with the reason."""

    authority: Authority
    reason: str


class SpecSections(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of a specification: the level of each section, None for a section without one.

    `exempt` lists the categories whose level deviates on purpose.
    """

    name: str
    version: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    levels: dict[str, Authority | None]
    exempt: dict[str, Exempt] = {}


def sections_of(spec: SpecReference) -> SpecSections | None:
    """Return the sections that a policy refers to; None if no table of that version, or of that text, exists."""
    wanted = f"{spec.name}-{spec.version}.yaml"
    for table in resources.files("topology").joinpath("policies").iterdir():
        if table.name == wanted:
            found = msgspec.yaml.decode(table.read_bytes(), type=SpecSections)
            return found if spec.sha256 in {"", found.sha256} else None
    return None
