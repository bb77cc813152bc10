"""What the phrases of all languages say of a text: risk, purpose, subject, wrapper. Built at the first call."""

import functools
import re
from bisect import bisect_left
from collections.abc import Mapping
from itertools import chain

from serving.text.features import fold
from serving.text.phrases import (
    arabic,
    chinese,
    dutch,
    english_classes,
    english_cues,
    english_danger,
    english_frames,
    english_idioms,
    english_mind,
    english_purpose,
    english_self_harm,
    english_wrappers,
    english_wrongdoing,
    french,
    german,
    hindi,
    italian,
    japanese,
    polish,
    portuguese,
    russian,
    spanish,
    turkish,
)
from serving.text.phrases.matching import Hit, PhraseTable
from serving.text.phrases.spelling import spelled

FRAMED_CHARACTERS_MAX = 300
"""How far behind a named setting, such as a novel, what is said still belongs to it."""
RISKS = frozenset(
    {"self_harm", "method", "other_self_harm", "danger", "harm_others", "distress", "delusion", "radical"}
)
"""Tags that say who is at risk; they and the purpose are void in a setting, subjects are not."""
PURPOSE = "malicious"

_IDIOM, _FRAME, _SETTING, _DEFENCE = "idiom", "frame", "setting", "defence"
_CUE = "cue."
_AROUND = frozenset({_IDIOM, _FRAME, _SETTING, _DEFENCE})
_STOP = re.compile(r" \. ")
_WRAPPERS = frozenset({"override", "order", "unbound", "persona"})
_CONTIGUOUS = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_WORDS = (
    english_self_harm.SELF_HARM,
    english_danger.DANGER,
    english_mind.MIND,
    english_cues.CUES,
    english_idioms.IDIOMS,
    english_purpose.PURPOSE,
    english_wrongdoing.WRONGDOING,
    english_wrappers.WRAPPERS,
    english_frames.FRAMES,
    *(language.PHRASES for language in (german, french, spanish, italian, portuguese, dutch)),
    *(language.PHRASES for language in (polish, turkish, russian, arabic, hindi)),
)


class _Surroundings:
    """The idioms, frames, defences and settings of a spelled text, each looked up in logarithmic time."""

    def __init__(self, told: str, hits: list[Hit]) -> None:
        self._stops = [match.start() for match in _STOP.finditer(told)]
        self._idioms = _merged([hit for hit in hits if hit.tag == _IDIOM])
        self._idiom_starts = [start for start, _ in self._idioms]
        self._settings = [hit.start for hit in hits if hit.tag == _SETTING]
        self._framed = {tag: {self.sentence(hit) for hit in hits if hit.tag == tag} for tag in (_FRAME, _DEFENCE)}

    def void(self, hit: Hit) -> bool:
        """Whether they take the sting out of a phrase.

        A frame does so in its sentence; a defence there, for what is no risk; a setting, for risk and purpose, shortly
        behind it.
        """
        sentence = self.sentence(hit)
        is_risk = hit.tag in RISKS or hit.tag.startswith(_CUE)
        if self._is_idiom(hit) or sentence in self._framed[_FRAME]:
            return True
        if not is_risk and sentence in self._framed[_DEFENCE]:
            return True
        return (is_risk or hit.tag == PURPOSE) and self._is_set(hit)

    def sentence(self, hit: Hit) -> int:
        """Which sentence of the text it starts in, from 0."""
        return bisect_left(self._stops, hit.start)

    def _is_set(self, hit: Hit) -> bool:
        before = bisect_left(self._settings, hit.start)
        return before > 0 and self._settings[before - 1] >= hit.start - FRAMED_CHARACTERS_MAX

    def _is_idiom(self, hit: Hit) -> bool:
        before = bisect_left(self._idiom_starts, hit.end)
        return before > 0 and self._idioms[before - 1][1] > hit.start


def tags_in(text: str) -> frozenset[str]:
    """The tags of the phrases that count in the text: no idioms, none whose surroundings take the sting out."""
    told = spelled(text)
    hits = _table().find(told)
    around = _Surroundings(told, hits)
    told_hits = [hit for hit in hits if hit.tag not in _AROUND and (hit.tag in _WRAPPERS or not around.void(hit))]
    told_tags = {hit.tag for hit in told_hits if not hit.tag.startswith(_CUE)}
    cues = [(around.sentence(hit), hit.tag) for hit in told_hits if hit.tag.startswith(_CUE)]
    return frozenset(told_tags) | _told_together(cues) | _contiguous_tags(text)


def _told_together(cues: list[tuple[int, str]]) -> frozenset[str]:
    """The tags whose rule finds all of its cues in one sentence or two neighbouring ones."""
    by_sentence: dict[int, set[str]] = {}
    for sentence, cue in cues:
        by_sentence.setdefault(sentence, set()).add(cue)
    near = [here | by_sentence.get(sentence + 1, set()) for sentence, here in by_sentence.items()]
    return frozenset(tag for tag, wanted in english_cues.RULES if any(found.issuperset(wanted) for found in near))


def _merged(hits: list[Hit]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for hit in hits:
        if merged and hit.start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], hit.end))
        else:
            merged.append((hit.start, hit.end))
    return merged


def _contiguous_tags(text: str) -> frozenset[str]:
    if not _CONTIGUOUS.search(text):
        return frozenset()
    folded = fold(text)
    return frozenset(tag for tag, pattern in _contiguous().items() if pattern.search(folded))


@functools.cache
def _table() -> PhraseTable:
    merged: dict[str, list[str]] = {}
    for tag, lines in chain.from_iterable(words.items() for words in _WORDS):
        merged.setdefault(tag, []).extend(lines)
    return PhraseTable(merged, english_classes.CLASSES)


@functools.cache
def _contiguous() -> Mapping[str, re.Pattern[str]]:
    tags = sorted({*chinese.PATTERNS, *japanese.PATTERNS})
    both = (chinese.PATTERNS, japanese.PATTERNS)
    return {tag: re.compile("|".join(chain.from_iterable(one.get(tag, ()) for one in both))) for tag in tags}
