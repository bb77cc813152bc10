# ruff: noqa: E501, RUF001
"""The parts of a message that a user shows rather than says: quotations, code, data, pasted text, transcripts.

What is shown has no authority. Counting too much as shown costs a little usefulness, counting too little could loosen a
label; so in doubt, text counts as shown. Every pattern is linear: a part without an end takes the rest of the text.
"""

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from serving.text.wrappers import TEXTS_KEPT, encoded_spans
from topology.contract.events import CodePart, ContentPart, part_text
from topology.contract.measures.intervals import joined

MARK = "\ufffc"
"""The mark that replaces what was shown: Unicode's object replacement character."""
STRETCH_CHARACTERS_MIN = 20
"""Length below which a quotation is a mere mention: it is shown, but can give no orders and is not to be transformed."""

_BLOCKS = re.compile(
    r"```.*?(?:```+|\Z)|~~~.*?(?:~~~+|\Z)|\"\"\".*?(?:\"\"\"|\Z)|<<<.*?(?:>>>|\Z)|<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|"
    r"-----BEGIN .*?(?:-----END [^\n]*|\Z)|"
    r"<\|[^|<>\n]{1,64}\|>.*?(?:<\|(?:im_end|end|eot|eot_id|endoftext|return)\|>|\Z)|"
    r"!\[[^\]]{0,2000}\](?:\([^)]{0,2000}\))?",
    re.DOTALL,
)
_QUOTATIONS = re.compile(
    r"\"[^\"]{1,20000}\"|“[^“”]{1,20000}”|„[^„“”]{1,20000}[“”]|«[^«»]{1,20000}»|‹[^‹›]{1,2000}›|「[^「」]{1,20000}」|"
    r"『[^『』]{1,20000}』|‘[^‘’\n]{3,500}’(?!\w)|(?<!\w)'[^'\n]{3,500}'(?!\w)|(?<!`)`[^`\n]{1,500}`(?!`)"
)
_LINES = re.compile(r"(?:^[ \t]{0,8}(?:>|&gt;|\|).*(?:\n|\Z))+", re.MULTILINE)
_FIELDS = re.compile(
    r"(?:^[ \t]{0,20}(?:- )?[\"']?[^\W\d][\w .-]{0,40}[\"']?[ \t]{0,8}[:=：][ \t]*\S.*(?:\n|\Z)){2,}", re.MULTILINE
)
_SPEAKERS = re.compile(
    r"^[ \t]{0,8}[#*\[(<{_-]{0,4}[ \t]?(?:note from (?:the )?)?(?:system|assistant|ai|bot|developer|tool|function|admin|administrator|"
    r"operator|moderator|platform|policy|attachment|attached|document|file|caption|image|alt|screenshot|transcript|ocr|metadata|"
    r"memory|context|result|output|user profile|verified)(?:[ _-][\w-]{1,20}){0,3}[\])>*}_]{0,4}[ \t]?[:=：].*$",
    re.MULTILINE | re.IGNORECASE,
)
_TAGS = re.compile(r"[<\[](/?)([^\W\d][\w:.-]{0,63})([^<>\[\]]{0,500})[>\]]")
_BRACES = re.compile(r"[{}]")
_PAIR = re.compile(r"[\"'\w]\s{0,8}[:=]")
# A task that concerns a text, then a colon or a new line, then the text.
_PASTED = re.compile(
    r"[^\n]{0,200}?\b(?:summar\w{1,6}|sum up|translat\w{1,4}|proofread|paraphrase|rephrase|classify|review|extract|"
    r"reply to|respond to|answer this|rewrite|analy[sz]e|check|page|article|text|e-?mail|message|document|letter|cv|"
    r"resume|post|comment|website|shorten)\b"
    r"[^\n:]{0,200}(?::|\n)(?!//)(.{20,})",
    re.IGNORECASE | re.DOTALL,
)


class Told(NamedTuple):
    """A message, taken apart: `own` is what the user says, `marked` the same with a `MARK` for each shown part."""

    own: str
    marked: str
    shown: tuple[str, ...]

    @property
    def shown_text(self) -> str:
        """Return all shown parts, each as a paragraph."""
        return "\n\n".join(self.shown)


def told(parts: tuple[ContentPart, ...]) -> Told:
    """Return the message that has these parts, taken apart. A code part is shown."""
    code = tuple(part_text(part) for part in parts if isinstance(part, CodePart))
    text = "\n\n".join(MARK if isinstance(part, CodePart) else part_text(part) for part in parts if part_text(part))
    said = told_text(text)
    return said._replace(shown=(*said.shown, *code))


@functools.lru_cache(maxsize=TEXTS_KEPT)
def told_text(text: str) -> Told:
    """Return a plain text, taken apart."""
    quoted = joined(_spans(text))
    blanked = "".join(own + MARK * length for own, length in _between(text, quoted))
    spans = joined([*quoted, *_pasted(blanked)])
    pieces = [own for own, _ in _between(text, spans)]
    shown = tuple(text[start:end] for start, end in spans)
    return Told(" ".join(pieces).replace(MARK, " ").strip(), MARK.join(pieces), shown)


def quoted_stretches(text: str) -> tuple[str, ...]:
    """Return the shown parts that are long enough to give orders, without quotation marks."""
    bare = (shown.strip("\"“”„«»`'‘’「」『』") for shown in told_text(text).shown)
    return tuple(shown for shown in bare if len(shown) >= STRETCH_CHARACTERS_MIN)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for pattern in (_BLOCKS, _QUOTATIONS, _LINES, _FIELDS, _SPEAKERS):
        yield from (match.span() for match in pattern.finditer(text))
    yield from _tagged(text)
    yield from _braced(text)
    yield from encoded_spans(text)


def _between(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[str, int]]:
    """Yield the text before, between and after the spans, each piece with the length of the span that follows it."""
    position = 0
    for start, end in spans:
        yield text[position:start], end - start
        position = end
    yield text[position:], 0


def _pasted(blanked: str) -> list[tuple[int, int]]:
    """Return the span of a text pasted after a task. `blanked` lacks what is shown, so that no task is read in it."""
    pasted = _PASTED.match(blanked)
    is_text = pasted is not None and len(pasted.group(1).replace(MARK, "").strip()) >= STRETCH_CHARACTERS_MIN
    return [pasted.span(1)] if pasted is not None and is_text else []


def _tagged(text: str) -> Iterator[tuple[int, int]]:
    """Yield every tag, such as `<file name="x">` or `[quote]`, and the text up to the tag that ends it."""
    opened: dict[str, int] = {}
    for match in _TAGS.finditer(text):
        name = match.group(2).lower()
        if match.group(1):
            yield opened.pop(name, match.start()), match.end()
        else:
            opened.setdefault(name, match.start())
            yield match.span()


def _braced(text: str) -> Iterator[tuple[int, int]]:
    """Yield outermost braces around a name and a value. Braces that are not closed reach to the end of the text."""
    depth, start = 0, 0
    for match in _BRACES.finditer(text):
        if match.group() == "{":
            start = match.start() if depth == 0 else start
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0 and _PAIR.search(text, start, match.end()):
                yield start, match.end()
    if depth and _PAIR.search(text, start):
        yield start, len(text)
