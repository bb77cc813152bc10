"""The heads of the encoder: their names, their kinds, and their places among its outputs.

A head of kind `choice` has one of its values, by a softmax; a head of kind `several` has each of its values or not, by
sigmoids. Requests, replies and documents have heads of their own, and one pass computes all of them.
"""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from topology.contract.labels import Context, Declines, Intent, Mode, Signal, Vulnerability

HEADS_VERSION = 1
"""Counted up with every change of this file; weights of another version are not loaded."""

LEVELS = ("0", "1", "2", "3", "4")
YES = ("yes",)

CATEGORIES = (
    "body_image",
    "cbrn.dual_use_high",
    "cbrn.science_low",
    "cbrn.weaponization",
    "civic_integrity",
    "csae",
    "cyber.defense",
    "cyber.offense",
    "dangerous_activity",
    "deception.defamation",
    "delusion_mania",
    "disordered_eating",
    "drugs.production",
    "drugs.use",
    "emotional_reliance",
    "extremism",
    "gore",
    "harassment",
    "hate",
    "ip.verbatim",
    "political.targeted",
    "privacy.mass_surveillance",
    "privacy.private",
    "privacy.public_role",
    "privileged_info",
    "regulated_advice.financial",
    "regulated_advice.legal",
    "regulated_advice.medical",
    "romantic_roleplay",
    "secrecy_from_caregivers",
    "self_harm.discussion",
    "self_harm.intent",
    "self_harm.method",
    "sexual.explicit",
    "sexual.exploitative",
    "trafficking_exploitation",
    "weapons.conventional",
    "wrongdoing.nonviolent",
    "wrongdoing.violent",
)
"""The categories that the encoder knows: those of the packaged policy of version 0.3.0, but for `none`."""


class Kind(StrEnum):
    """What a text is to the encoder; its prefix tells the encoder which."""

    REQUEST = "request"
    REPLY = "reply"
    DOCUMENT = "document"


PREFIXES = {Kind.REQUEST: "query: ", Kind.REPLY: "passage: ", Kind.DOCUMENT: "document: "}


class Head(Struct, frozen=True, kw_only=True):
    """One head: the place of its first output, and what its outputs stand for."""

    name: str
    of: Kind
    kind: Literal["choice", "several"]
    values: tuple[str, ...]
    start: int

    @property
    def end(self) -> int:
        """Return the place behind its last output."""
        return self.start + len(self.values)


_SPELT: tuple[tuple[Kind, str, Literal["choice", "several"], tuple[str, ...]], ...] = (
    (Kind.REQUEST, "harmful", "several", YES),
    (Kind.REQUEST, "category", "several", CATEGORIES),
    (Kind.REQUEST, "intent", "choice", tuple(Intent)),
    (Kind.REQUEST, "asked", "choice", LEVELS),
    (Kind.REQUEST, "harm", "choice", LEVELS),
    (Kind.REQUEST, "context", "choice", tuple(Context)),
    (Kind.REQUEST, "vulnerability", "choice", tuple(Vulnerability)),
    (Kind.REQUEST, "other", "several", YES),
    (Kind.REQUEST, "urgent", "several", YES),
    (Kind.REQUEST, "signal", "several", tuple(Signal)),
    (Kind.REQUEST, "mode", "choice", tuple(Mode)),
    (Kind.REPLY, "reply_category", "several", CATEGORIES),
    (Kind.REPLY, "detail", "choice", LEVELS),
    (Kind.REPLY, "declines", "choice", tuple(Declines)),
    (Kind.REPLY, "bare_refusal", "several", YES),
    (Kind.REPLY, "unfair", "several", YES),
    (Kind.REPLY, "barred", "several", YES),
    (Kind.REPLY, "obeyed", "several", YES),
    (Kind.REPLY, "leak", "several", YES),
    (Kind.DOCUMENT, "injection", "several", YES),
)


def _placed() -> dict[str, Head]:
    heads: dict[str, Head] = {}
    start = 0
    for of, name, kind, values in _SPELT:
        heads[name] = Head(name=name, of=of, kind=kind, values=tuple(map(str, values)), start=start)
        start = heads[name].end
    return heads


HEADS = _placed()
TEXT_WIDTH = sum(len(head.values) for head in HEADS.values())
TOKEN_WIDTH = 1
"""The outputs of each token: whether it belongs to an injected order."""
