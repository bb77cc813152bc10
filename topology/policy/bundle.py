"""The shape of a policy bundle: scales, categories, modes, obligations, verdict rows, words. No behaviour.

A bundle is data; `topology.policy.loading` loads it, `topology.policy.faults` checks it. Every struct refuses unknown
fields, because a misspelled limit would silently loosen the policy.
"""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from topology.contract.labels import CategoryId, Context, Intent, Level, Mode, SideEffect, VerdictKind

CeilingRow = tuple[Level, Level, Level]
"""The ceilings for benign, dual_use and malicious intent."""

INTENTS = tuple(Intent)
LOCALE_DEFAULT = "en"

Identifier = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
PolicyId = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9-]*$",
        max_length=64,
        title="small letters, digits and dashes, a letter first, at most 64 of them",
    ),
]
Version = Annotated[
    str, Meta(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", max_length=32, title="three numbers with dots, such as 1.2.3")
]
Sha256 = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
Words = Annotated[str, Meta(min_length=1, max_length=1000)]
Localised = dict[str, Words]
"""One phrase per language; `en` is always present."""


class Authority(StrEnum):
    """The levels that may override a rule, from high to low."""

    ROOT = "root"
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    GUIDELINE = "guideline"
    NONE = "none"

    @property
    def rank(self) -> int:
        """Return 0 for root, rising as authority falls."""
        return tuple(Authority).index(self)


class ContentClass(StrEnum):
    """The kind of excuse that a category knows: prohibited and restricted none, sensitive its contexts."""

    PROHIBITED = "prohibited"
    RESTRICTED = "restricted"
    SENSITIVE = "sensitive"
    RISKY = "risky"
    CONDUCT = "conduct"
    CONTROL = "control"


class Family(StrEnum):
    """The reading of a detail level: what D3 means for steps, depictions, data and advice."""

    PROCEDURAL = "procedural"
    EXPRESSIVE = "expressive"
    DATA = "data"
    ADVICE = "advice"


class AgeDefault(StrEnum):
    """The age that ceilings assume for a user of unknown age."""

    ADULT = "adult"
    TEEN = "teen"


class SpecReference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The published specification that a policy follows."""

    name: str
    version: str
    commit: str = ""
    sha256: Sha256 = ""
    deltas_tracked: tuple[str, ...] = ()


class PolicyIdentity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy's name and version: loosening is a major version, tightening minor, wording patch."""

    id: PolicyId
    version: Version
    spec: SpecReference


class Loosen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bound up to which, and the authority from which, a tenant may raise a category."""

    by: Authority
    to: Level


class Category(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of content and the limits on its detail.

    `harm` is the range that labels are clamped into. `fixed` replaces the base table; None means the table.
    `raise_contexts` lift the ceiling by one. In the contexts of `education` the ceiling is at least D1, in those of
    `protection` at least D2. `floor_mode` applies where the user shows what the category is about, not where they
    ask about it. `teen_cap` None means that teens have no limit of their own.
    """

    anchor: Words
    content_class: ContentClass = field(name="class")
    authority: Authority
    family: Family
    harm: tuple[Level, Level]
    offer: tuple[Identifier, ...]
    fixed: CeilingRow | None = None
    raise_contexts: tuple[Context, ...] = field(name="raise", default=())
    education: tuple[Context, ...] = ()
    protection: tuple[Context, ...] = ()
    grants: dict[Identifier, CeilingRow] = {}
    loosen: Loosen | None = None
    teen_cap: Level | None = None
    transformable: bool = False
    no_transform: bool = False
    force_mode: Mode | None = None
    floor_mode: Mode | None = None
    withhold: tuple[Identifier, ...] = ()
    include: tuple[Identifier, ...] = ()


class ModeRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The elements that a mode, or an add-on to it, obliges an answer to include, to withhold and to offer."""

    include: tuple[Identifier, ...] = ()
    withhold: tuple[Identifier, ...] = ()
    offer: tuple[Identifier, ...] = ()
    style: Identifier = "default"


class AddOn(StrEnum):
    """An addition to a mode that depends on who asks or on what is asked for."""

    TEEN = "teen"
    TRANSFORMATION = "transformation"
    DELUSION = "delusion"
    AT_RISK = "at_risk"
    URGENT = "urgent"
    HELPER = "helper"
    HARM_TO_OTHERS = "harm_to_others"


class Obligation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An element that an answer must contain; `words` tells the generator. `anchor` is empty for the platform's own."""

    authority: Authority
    words: Words
    anchor: str = ""


class SoftRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault that costs a revision but never withholds an answer; `words` is the feedback. `anchor` as above."""

    authority: Authority
    words: Words
    anchor: str = ""


class ConductRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule of conduct for answers on any subject; `words` tells the generator and the guard.

    `checked_by` names the aspect of the verdict table (`unfair`) or the soft rules that its faults are.
    """

    anchor: Words
    authority: Authority
    words: Words
    checked_by: tuple[Identifier, ...]


class GuardExample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case near the line: a request and a draft that answers it, and how a guard should label the two.

    `category` is `none` where neither has anything to label. `faults` are those of a group on manner.
    """

    request: Words
    draft: Words
    category: CategoryId
    harm: Level = 0
    intent: Intent = Intent.DUAL_USE
    asked: Level = 0
    detail: Level = 0
    faults: tuple[Identifier, ...] = ()
    rule: str = ""


class GuardGroup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prompt of a guard LLM for categories that are alike: one prompt a group.

    A group without categories judges manner: its faults are `unfair` and soft rules. Criteria are cited as
    `<code>.a`, `<code>.b` if they break the line and `<code>.s1`, `<code>.s2` if they keep to it.
    """

    code: Annotated[str, Meta(pattern="^[A-Z]{2}$")]
    title: Words
    categories: tuple[CategoryId, ...]
    definitions: tuple[Words, ...]
    violates: Annotated[tuple[Words, ...], Meta(min_length=1, max_length=9)]
    safe: Annotated[tuple[Words, ...], Meta(min_length=1, max_length=9)]
    precedence: Annotated[tuple[Words, ...], Meta(min_length=1)]
    examples: Annotated[tuple[GuardExample, ...], Meta(max_length=6)]
    faults: tuple[Identifier, ...] = ()

    @property
    def criteria(self) -> dict[str, str]:
        """Return the words of each criterion by the id under which it is cited."""
        broken = {f"{self.code}.{letter}": words for letter, words in zip("abcdefghi", self.violates, strict=False)}
        return broken | {f"{self.code}.s{place}": words for place, words in enumerate(self.safe, 1)}


class Aspect(StrEnum):
    """The subject that a verdict row judges."""

    GUARD = "guard"
    FINDING = "finding"
    LEAK = "leak"
    OBLIGATION = "obligation"
    UNFAIR = "unfair"
    REFUSAL = "refusal"
    DECLINING = "declining"
    SOFT = "soft"


class VerdictRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the verdict table: its conditions (an absent one always holds), the verdict, and its consequences.

    `over_min` is detail above the ceiling; `straddle_min` is how far guards on both sides of it differ;
    `budget` is whether another draft may be made. `feedback` tells the generator what was wrong.
    """

    id: Annotated[str, Meta(pattern="^V[0-9]{2}[a-z]?$")]
    aspect: Aspect
    verdict: VerdictKind
    content_class: ContentClass | None = field(name="class", default=None)
    family: Family | None = None
    harm_min: Level = 0
    harm_max: Level = 4
    over_min: Annotated[int, Meta(ge=-4, le=4)] | None = None
    straddle_min: Annotated[int, Meta(ge=1, le=4)] | None = None
    separable: bool | None = None
    budget: Literal["more", "spent"] | None = None
    modes: tuple[Mode, ...] = ()
    side_effects: tuple[SideEffect, ...] = ()
    flag: str = ""
    feedback: str = ""


class Evidence(StrEnum):
    """The evidence for a help line: read at its source, seen in public listings, or only remembered."""

    READ = "read"
    LISTED = "listed"
    RECALLED = "recalled"


class Decay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The decay of what a conversation has shown: forgotten after `turns` user turns and `hours`, whichever is later.

    An acute crisis without new signs counts as `at_risk` after `acute_turns`. An answer that names a help line meets
    that obligation for itself and the next `line_answers` answers.
    """

    turns: Annotated[int, Meta(ge=1, le=100)] = 6
    hours: Annotated[int, Meta(ge=1, le=720)] = 24
    acute_turns: Annotated[int, Meta(ge=1, le=100)] = 2
    line_answers: Annotated[int, Meta(ge=0, le=10)] = 2


class HelpLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A region's crisis line and emergency number, with the source and the date as of which it is known.

    `name` and `number` are empty if no line is known that answers at any hour; the words are then general.
    """

    emergency: Words
    source: Words
    as_of: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    evidence: Evidence = Evidence.RECALLED
    name: str = ""
    number: str = ""


def region_of(locale: str, region: str) -> str:
    """Return the region whose help lines fit a reader: the one stated, else the locale's (BCP 47); empty if unknown."""
    subtags = locale.replace("_", "-").split("-")[1:]
    return region.upper() or next((tag.upper() for tag in subtags if len(tag) == 2 and tag.isalpha()), "")


class PolicyBundle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole policy. `withhold_above[family][c]` names the content that begins right above ceiling D`c`.

    `crosswalk` names each category's labels in other taxonomies; empty if a taxonomy has none.

    `content_hash` is the SHA-256 of the document's canonical JSON without that field; the loader fills it in.
    """

    policy: PolicyIdentity
    enums: dict[str, tuple[str, ...]]
    age_default: AgeDefault
    base_ceiling: dict[Family, tuple[CeilingRow, ...]]
    categories: dict[CategoryId, Category]
    tenant_floors: tuple[Mode, ...]
    withhold_above: dict[Family, tuple[Identifier, Identifier, Identifier, Identifier]]
    modes: dict[Mode, ModeRule]
    add_ons: dict[AddOn, ModeRule]
    obligations: dict[Identifier, Obligation]
    soft_rules: dict[Identifier, SoftRule]
    withholds: dict[Identifier, Words]
    offers: dict[Identifier, Localised]
    rules: tuple[VerdictRow, ...]
    templates: dict[str, dict[Identifier, Words]]
    help_lines: dict[str, HelpLine]
    memory: Decay = Decay()
    conduct: dict[Identifier, ConductRule] = {}
    guard_groups: dict[Identifier, GuardGroup] = {}
    crosswalk: dict[CategoryId, dict[Identifier, tuple[str, ...]]] = {}
    content_hash: Sha256 = ""

    @property
    def policy_id(self) -> str:
        """Return the policy's name."""
        return self.policy.id

    @property
    def version(self) -> str:
        """Return the policy's version."""
        return self.policy.version

    @property
    def ref(self) -> str:
        """Return the name of this bundle in audit records: `policy_id@version#<first 12 hex digits of its hash>`."""
        return f"{self.policy.id}@{self.policy.version}#{self.content_hash[:12]}"

    @property
    def grant_names(self) -> frozenset[str]:
        """Return every grant that some category knows."""
        return frozenset(name for category in self.categories.values() for name in category.grants)
