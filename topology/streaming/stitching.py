"""The seam between text that was shown and the text that goes on from it. Pure.

A model that is asked to go on, in a new turn, likes to begin with some of what it wrote before, and never with the
white space that belongs between two sentences.
"""

import unicodedata

REPEATED_CHARACTERS_MIN = 12
"""The shortest last line of the shown text that is taken for a repetition where the new text begins with it."""

_CLOSED_UP = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "FULLWIDTH", "IDEOGRAPHIC")


class Stitch:
    """Takes a text that goes on from `shown`, piece by piece; leaves out what it repeats, and adds a missing space."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        last_line = shown.rstrip().rpartition("\n")[2].strip()
        self._beginnings = [shown.strip(), *([last_line] if len(last_line) >= REPEATED_CHARACTERS_MIN else [])]
        self._waiting = ""
        self._is_decided = not shown

    def feed(self, text: str) -> str:
        """Return the text that may be added; empty while it may still turn out to be a repetition."""
        if self._is_decided:
            return text
        self._waiting += text
        begun = self._waiting.lstrip()
        if any(beginning.startswith(begun) and beginning != begun for beginning in self._beginnings):
            return ""
        return self._decided(begun)

    def end(self) -> str:
        """Return what is left once the text has ended."""
        return "" if self._is_decided else self._decided(self._waiting.lstrip())

    def _decided(self, begun: str) -> str:
        repeated = max((each for each in self._beginnings if begun.startswith(each)), key=len, default="")
        text = begun[len(repeated) :] if repeated else self._waiting
        if not text:
            return ""
        self._is_decided, self._waiting = True, ""
        return text if is_closed_up(self._shown, text) else " " + text


def is_closed_up(before: str, after: str) -> bool:
    """Return whether no space is missing between two texts."""
    first, last = after[0], before[-1]
    if first.isspace() or last.isspace() or not (first.isalnum() or first in "\"'(“„«¿¡*`"):
        return True
    return any(unicodedata.name(each, "").startswith(_CLOSED_UP) for each in (first, last))
