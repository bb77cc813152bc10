"""The example replies of a Model Spec document: conversations with replies that it labels GOOD, OK or BAD.

The document holds conversations in fences of XML-like tags, below headings that carry an anchor. A `<comparison>` ends
one: each `<assistant>` in it is a reply, and the comment behind its tag begins with the label.
"""

import re
from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from topology.contract.events import Message, Role, TextPart


class Label(StrEnum):
    """The document's label of a reply."""

    GOOD = "GOOD"
    OK = "OK"
    BAD = "BAD"


class Reply(Struct, frozen=True, kw_only=True):
    """One labelled reply. `remark` is the document's addition to the label, and often empty."""

    label: Label
    text: str
    remark: str = ""


class SpecExample(Struct, frozen=True, kw_only=True):
    """One comparison: the conversation before it, and the replies. `line` is its first line, counted from 1.

    `parents` are the anchors above `section`, the outermost first.
    """

    section: str
    parents: tuple[str, ...]
    line: int
    messages: tuple[Message, ...]
    replies: tuple[Reply, ...]


_HEADING = re.compile(r"^(#+) .*\{#(\w+)[^}]*\}", re.MULTILINE)
_FENCE = re.compile(r"^~~~xml\n(.*?)^~~~$", re.MULTILINE | re.DOTALL)
_COMPARISON = re.compile(r"<comparison>(.*?)</comparison>", re.DOTALL)
_TURN = re.compile(r"^<(system|developer|user|assistant|tool)\b([^>]*)>(.*?)^ ?</\1>", re.MULTILINE | re.DOTALL)
_LABELLED = re.compile(r"^\s*<!--\s*(GOOD|OK|BAD)(.*?)-->(.*)$", re.DOTALL)


def spec_examples(document: str) -> tuple[SpecExample, ...]:
    """Return every comparison of a document with at least one labelled reply, in order."""
    sections = [(found.start(), len(found[1]), found[2]) for found in _HEADING.finditer(document)]
    return tuple(example for fence in _FENCE.finditer(document) for example in _comparisons(document, fence, sections))


def _comparisons(document: str, fence: re.Match[str], sections: list[tuple[int, int, str]]) -> Iterator[SpecExample]:
    """Yield the comparisons of one conversation; a later one is preceded by the good reply of the one before it."""
    anchors = _anchors(sections, fence.start())
    messages: list[Message] = []
    read = 0
    for found in _COMPARISON.finditer(fence[1]):
        messages += _messages(fence[1][read : found.start()])
        read = found.end()
        replies = tuple(_replies(found[1]))
        if replies:
            line = document.count("\n", 0, fence.start(1) + found.start()) + 1
            yield SpecExample(
                section=anchors[-1], parents=anchors[:-1], line=line, messages=tuple(messages), replies=replies
            )
        good = [reply.text for reply in replies if reply.label is Label.GOOD]
        messages += [Message(role=Role.ASSISTANT, parts=(TextPart(text=text),)) for text in good[:1]]


def _anchors(sections: list[tuple[int, int, str]], place: int) -> tuple[str, ...]:
    """Return the anchors of the headings above a place, the outermost first."""
    path: list[tuple[int, str]] = []
    for start, depth, anchor in sections:
        if start > place:
            break
        path = [(above, name) for above, name in path if above < depth] + [(depth, anchor)]
    return tuple(name for _, name in path)


def _messages(said: str) -> Iterator[Message]:
    for role, _, text in _TURN.findall(said):
        yield Message(role=Role(role), parts=(TextPart(text=text.strip()),))


def _replies(compared: str) -> Iterator[Reply]:
    for role, _, inside in _TURN.findall(compared):
        labelled = _LABELLED.match(inside)
        if role == Role.ASSISTANT and labelled is not None:
            remark = labelled[2].strip(" :\n")
            yield Reply(label=Label(labelled[1]), text=labelled[3].strip(), remark=remark)
