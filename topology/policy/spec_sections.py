"""The sections of the published specification that a policy follows: which anchors there are, and at which level.

The tables are data beside the policies, one file a version of the specification.
"""

from importlib import resources
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from topology.policy.bundle import Authority, SpecReference


class Exempt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A category whose level is not that of its section, and why."""

    authority: Authority
    reason: str


class SpecSections(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of a specification: the level of each section, None for one without a level of its own.

    `exempt` lists the categories whose level deviates on purpose.
    """

    name: str
    version: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    levels: dict[str, Authority | None]
    exempt: dict[str, Exempt] = {}


def sections_of(spec: SpecReference) -> SpecSections | None:
    """The sections that a policy refers to; None where there is no table of that version, or one of another text."""
    wanted = f"{spec.name}-{spec.version}.yaml"
    for table in resources.files("topology").joinpath("policies").iterdir():
        if table.name == wanted:
            found = msgspec.yaml.decode(table.read_bytes(), type=SpecSections)
            return found if spec.sha256 in {"", found.sha256} else None
    return None
