"""Long stretches of privileged text that a draft repeats."""

import re

from topology.contract.labels import Span
from topology.contract.measures.intervals import joined

RUN_WORDS_MIN = 12
"""Least number of words in a row that a draft must share with privileged text to count as a leak."""
_WORD = re.compile(r"\w+")
LABEL = "privileged"


def leaks(draft: str, privileged: tuple[str, ...]) -> tuple[Span, ...]:
    """Return where the draft repeats a run of `RUN_WORDS_MIN` privileged words or more. Ascending, disjoint."""
    known = {run for text in privileged for run in _runs([match.group().lower() for match in _WORD.finditer(text)])}
    if not known:
        return ()
    places = list(_WORD.finditer(draft))
    words = [match.group().lower() for match in places]
    runs = [index for index, run in enumerate(_runs(words)) if run in known]
    found = joined((places[index].start(), places[index + RUN_WORDS_MIN - 1].end()) for index in runs)
    return tuple(Span(start=start, end=end, label=LABEL) for start, end in found)


def _runs(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[index : index + RUN_WORDS_MIN]) for index in range(len(words) - RUN_WORDS_MIN + 1)]
