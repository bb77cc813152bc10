"""Noisy copies of rows: letters in lower case, two neighbours swapped, punctuation lost. Pure, by seed.

The copies show how much of a figure rests on careful writing. Labels stay, because the meaning does.
"""

import random
import unicodedata
from collections.abc import Sequence

from msgspec import structs

from serving.evaluation.rows import Message, RequestRow

SWAPS_PER_LETTER = 0.02
LOWER_SHARE = 0.5
LOST_MARKS_SHARE = 0.7


def noisy(row: RequestRow, seed: int) -> RequestRow:
    """Return a request whose last user message is written carelessly; the same one for the same seed."""
    chosen = random.Random(f"{seed}:{row.id}")
    last = max(at for at, each in enumerate(row.messages) if each.role == "user")
    return structs.replace(row, messages=_with(row.messages, last, _careless(row.messages[last].text, chosen)))


def _with(messages: Sequence[Message], at: int, text: str) -> tuple[Message, ...]:
    return (*messages[:at], Message(role="user", text=text), *messages[at + 1 :])


def _careless(text: str, chosen: random.Random) -> str:
    if chosen.random() < LOWER_SHARE:
        text = text.lower()
    if chosen.random() < LOST_MARKS_SHARE:
        text = "".join(" " if unicodedata.category(letter) == "Po" else letter for letter in text)
    letters = list(text)
    for at in range(len(letters) - 1):
        if letters[at].isalpha() and letters[at + 1].isalpha() and chosen.random() < SWAPS_PER_LETTER:
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters) if "".join(letters).strip() else text
