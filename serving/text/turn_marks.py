"""Marks by which chat templates tell turns apart: how they are found in a text, and broken up.

An engine reads such a mark in a user's text as a token of its own, so that a user could speak as the system. A space
inside the mark ends that. It can be seen, and no normalizer of a tokenizer takes it away, as it would take away a
character without width.
"""

import re
from collections.abc import Iterable, Iterator

from serving.text.mark_families import EVERY_MARK

MARK_CHARACTERS_MAX = 128
"""The longest mark. Of a longer one its beginning counts, which is enough to break it."""

PASSES_MAX = 3
"""The most passes over a text. A second one finds what the spaces of the first have made, with marks that hold one."""

_SHAPES = r"<(?=\|[^|<>\n]{1,64}\|>|\|[^|<>\s]{1,64}>|[^|<>\s]{1,64}\|>)"
"""Marks of any name with a bar inside a bracket: `<|user|>`, `<|turn>`, `<turn|>`, and DeepSeek's with a wide bar."""

_WORD_BEGINS = r"(?<!\w)"

_HALF_WIDTH = {0xFF01 + index: 0x21 + index for index in range(94)}
"""Full-width characters to their ASCII forms, which some tokenizers make of them. A text keeps its length."""

_NUMBER = re.compile(r"[0-9]+")


def canonical(mark: str) -> str:
    """Return the form of a mark that stands for all that differ from it by numbers, width, or space around it.

    Tokenizers have hundreds of reserved marks that differ by a number. Empty if nothing is left to break.
    """
    core = _NUMBER.sub("0", mark.translate(_HALF_WIDTH).strip())[:MARK_CHARACTERS_MAX].strip()
    return core if len(core) > 1 else ""


class TurnMarks:
    """The marks of one model, joined with those that no ordinary text has."""

    def __init__(self, marks: Iterable[str] = ()) -> None:
        forms = {canonical(mark) for mark in (*EVERY_MARK, *marks)} - {""}
        self._pattern = re.compile("|".join((_SHAPES, *_alternatives(forms))))

    def broken_up(self, text: str) -> str:
        """Return the text with a space inside every mark."""
        for _ in range(PASSES_MAX):
            ends = [found.end() for found in self._pattern.finditer(text.translate(_HALF_WIDTH))]
            if not ends:
                break
            text = " ".join(text[start:end] for start, end in zip((0, *ends), (*ends, None), strict=True))
        return text


def _alternatives(forms: Iterable[str]) -> Iterator[str]:
    """Yield patterns that match up to the place of the space: before a last colon, else behind the first character.

    What follows is only looked at, so that marks may overlap.
    """
    tails: dict[str, list[str]] = {}
    for form in sorted(forms):
        if form.endswith(":"):
            yield f"{_WORD_BEGINS if form[0].isalnum() else ''}{_numbered(form[:-1])}(?=:)"
        else:
            tails.setdefault(form[0], []).append(_numbered(form[1:]))
    for head, those in tails.items():
        yield f"{_numbered(head)}(?={'|'.join(those)})"


def _numbered(form: str) -> str:
    return re.escape(form).replace("0", "[0-9]{1,9}")


EVERY = TurnMarks()
"""The marks that no ordinary text has, whichever model reads it."""
