# ruff: noqa: RUF001 - marks of many scripts
"""Segments: the pieces in which an answer is judged and released while a model writes it.

A segment ends with a sentence, or with a line; a block of code is one, up to a bound, and then each of its lines.
Joined, the segments are the text. Where they end depends on the text alone, and never on how it arrived, the bound on
time aside. White space after a sentence belongs to the next segment, so that none waits for it.
"""

import re
import unicodedata

from msgspec import Struct

ABBREVIATIONS = frozenset(
    [
        *(
            "mr",
            "mrs",
            "ms",
            "dr",
            "prof",
            "st",
            "vs",
            "etc",
            "e.g",
            "i.e",
            "approx",
            "dept",
            "fig",
            "inc",
            "ltd",
            "jr",
        ),
        *(
            "sr",
            "gen",
            "capt",
            "al",
            "cf",
            "bzw",
            "usw",
            "ca",
            "nr",
            "vgl",
            "str",
            "evtl",
            "ggf",
            "inkl",
            "bspw",
            "z.b",
        ),
        *("d.h", "u.a", "abs", "mme", "mlle", "env", "p.ex", "sra", "ud", "uds", "pág", "núm", "sig", "dott", "bijv"),
        *("т.е", "т.д", "т.п", "др", "см", "стр", "руб"),
    ]
)
"""Words of several languages whose full stop ends no sentence; a single letter is one in all of them."""

LIST_DIGITS_MAX = 3
"""The digits of a number whose full stop may belong to it: a list's, an ordinal's, a day's."""

_END = re.compile(
    r"\n"
    r"|(?P<spaced>[.!?…؟۔։።‼⁇⁈⁉]+[\"'”’»›)\]*_]*)"  # a sentence ends here if white space follows
    r"|(?P<plain>[。！？｡．।॥။។]+[」』”’）》〉】\"')\]]*)"  # these languages put none
)
_WORD = re.compile(r"[\w.'’-]*\Z")
_CLAUSE = "、，；：,;"
_FENCES = ("```", "~~~")
_INLINE = re.compile(r"`{3,}[^`\n]+`")
"""Code within a line, which opens no block."""
_JOINERS = ("\u200d", "\ufe0e", "\ufe0f")
"""Characters that belong to the one before them; the first also takes the one after it."""


class SegmentBounds(Struct, frozen=True, kw_only=True):
    """The most characters of a segment, of a block of code in one piece, and the longest wait for a segment's end.

    After `age_max_ms` the next piece of text cuts the segment after its last whole word.
    """

    characters_max: int = 400
    fence_characters_max: int = 2000
    age_max_ms: float = 2000.0


class Segment(Struct, frozen=True, kw_only=True):
    """A piece of an answer. `is_cut`: a bound ended it, so that a word, a number or a name may go on after it."""

    text: str
    is_cut: bool = False


class Segmenter:
    """Makes the segments of one text while it arrives. At most one block of code, or one segment, waits in it."""

    def __init__(self, bounds: SegmentBounds) -> None:
        self._bounds = bounds
        self._waiting = ""
        self._since_ms = 0.0
        self._is_line_start = True
        self._fence = ""
        """The marks that end a block of code whose first part has left; empty outside of one."""

    @property
    def waiting(self) -> str:
        """Return the text that is in no segment yet."""
        return self._waiting

    def feed(self, text: str, now_ms: float) -> list[Segment]:
        """Return the segments that `text` completes, or whose time is over, in order."""
        if not self._waiting:
            self._since_ms = now_ms
        self._waiting += text
        segments = self._complete(is_end=False)
        if segments:
            self._since_ms = now_ms
        elif now_ms - self._since_ms >= self._bounds.age_max_ms and (length := self._whole_words()):
            self._since_ms = now_ms
            self._note_fence(length)
            segments = [self._take(length, is_cut=True)]
        return segments

    def end(self) -> list[Segment]:
        """Return the last segments of a text that has ended."""
        segments = self._complete(is_end=True)
        return [*segments, self._take(len(self._waiting), is_cut=False)] if self._waiting else segments

    def _complete(self, *, is_end: bool) -> list[Segment]:
        segments: list[Segment] = []
        while True:  # bounded: each turn takes some of the text, or ends
            length, is_cut = self._next(is_end=is_end)
            if not length:
                return segments
            segments.append(self._take(length, is_cut=is_cut))

    def _take(self, length: int, *, is_cut: bool) -> Segment:
        text, self._waiting = self._waiting[:length], self._waiting[length:]
        self._is_line_start = text.endswith("\n")
        return Segment(text=text, is_cut=is_cut)

    def _next(self, *, is_end: bool) -> tuple[int, bool]:
        """Return the length of the next segment, 0 if its end is not known yet, and whether a bound ends it."""
        text = self._waiting
        if self._fence:
            return self._next_line(text)
        lead = len(text) - len(text.lstrip())
        if self._is_line_start or "\n" in text[:lead]:
            opening = text[lead : lead + 3]
            if opening in _FENCES and not _INLINE.match(text, lead):
                return self._next_block(lead, is_end=is_end)
            if not is_end and any(fence.startswith(opening) for fence in _FENCES) and opening:
                return 0, False
        return self._next_sentence(lead, is_end=is_end)

    def _next_sentence(self, lead: int, *, is_end: bool) -> tuple[int, bool]:
        most = self._bounds.characters_max
        window = self._waiting[: most + 1]
        is_full = len(window) > most
        for found in _END.finditer(window, lead):
            end = found.end()
            if found.group() == "\n":
                return end, False
            if end == len(window):  # more marks may follow
                break
            if found["plain"] is not None:
                return end, False
            is_boundary = _ends_sentence(window, found.start(), end)
            if is_boundary is None and not is_full and not is_end:
                return 0, False
            if is_boundary is not False:
                return end, False
        return (_cut(window, lead, most), True) if is_full else (0, False)

    def _next_block(self, lead: int, *, is_end: bool) -> tuple[int, bool]:
        """Return the end of a block of code, or that of its first part."""
        most = self._bounds.fence_characters_max
        window = self._waiting[: most + 1]
        fence = _fence_at(window, lead)
        end = r"(?:\n|\Z)" if is_end and len(window) <= most else r"\n"
        closing = re.compile(rf"\n[ \t]*{re.escape(fence)}{re.escape(fence[0])}*[ \t]*{end}").search(window, lead)
        if closing is not None and closing.end() <= most:
            return closing.end(), False
        if len(window) <= most:
            return 0, False
        self._fence = fence
        length = window.rfind("\n", 0, most) + 1
        return (length, False) if length > lead else (_cut(window, lead, most), True)

    def _next_line(self, text: str) -> tuple[int, bool]:
        """Return the end of the next line of a block of code that is released by lines."""
        length = text.find("\n", 0, self._bounds.characters_max) + 1
        if not length:
            most = self._bounds.characters_max
            return (_cut(text, 0, most), True) if len(text) > most else (0, False)
        line = text[:length].strip()
        if self._is_line_start and line.startswith(self._fence) and not line.strip(self._fence[0]):
            self._fence = ""
        return length, False

    def _whole_words(self) -> int:
        """Return the length of the waiting text up to its last whole word, or whole line of code; 0: there is none."""
        text = self._waiting
        lead = len(text) - len(text.lstrip())
        if self._fence or self._is_block(lead):
            return text.rfind("\n", lead) + 1
        return next((at for at in range(len(text) - 1, lead, -1) if text[at].isspace()), 0)

    def _is_block(self, lead: int) -> bool:
        is_line_start = self._is_line_start or "\n" in self._waiting[:lead]
        return is_line_start and self._waiting[lead : lead + 3] in _FENCES and not _INLINE.match(self._waiting, lead)

    def _note_fence(self, length: int) -> None:
        """Remember the block of code whose first part is about to leave before its time."""
        lead = len(self._waiting) - len(self._waiting.lstrip())
        if not self._fence and length > lead and self._is_block(lead):
            self._fence = _fence_at(self._waiting, lead)


def _fence_at(text: str, at: int) -> str:
    """Return the marks that open a block of code."""
    mark = text[at]
    rest = text[at:]
    return mark * (len(rest) - len(rest.lstrip(mark)))


def _ends_sentence(text: str, start: int, end: int) -> bool | None:
    """Return whether marks that white space may follow end a sentence; None if more text must tell."""
    following = text[end:].lstrip()
    space = text[end : len(text) - len(following)]
    if not space or "\n" in space:  # with the line, if at all
        return False
    if not following:
        return None
    if following[0].islower():
        return False
    return text[start:end].rstrip("\"'”’»›)]*_") != "." or not _is_of_word(text, start, following[0])


def _is_of_word(text: str, start: int, following: str) -> bool:
    """Return whether a full stop belongs to the word before it."""
    word = _WORD.search(text, 0, start)
    before = "" if word is None else word.group().lower()
    if before.isdigit():
        return len(before) <= LIST_DIGITS_MAX or following.isdigit()
    return (len(before) == 1 and before.isalpha()) or before in ABBREVIATIONS


def _cut(text: str, lead: int, most: int) -> int:
    """Return where a text without an end is cut: before its last white space, after a clause, or between characters."""
    for at in range(most, lead, -1):
        if text[at].isspace():
            return at
    clause = max(text.rfind(mark, lead, most) for mark in _CLAUSE) + 1
    if clause > lead:
        return clause
    at = most
    while at > lead + 1 and (unicodedata.combining(text[at]) or text[at] in _JOINERS or text[at - 1] == _JOINERS[0]):
        at -= 1
    return at
