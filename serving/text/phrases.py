"""The tags of a text by the phrases of all languages: risk, purpose, subject, wrapper.

The phrases are data: one file for each language or subject, in the folder `phrases`. They are read and checked for the
first text that a process judges, which is that of `serving.guards.warm_up`.
"""

import functools
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from serving.text.features import fold
from serving.text.phrase_matching import Hit, Phrase, PhraseError, PhraseReader, PhraseTable
from serving.text.spelling import spelled
from topology.contract.measures.intervals import joined

PHRASES_FOLDER = Path(__file__).parent / "phrases"
FRAMED_CHARACTERS_MAX = 300
"""The number of characters after a named setting, such as a novel, that still belong to it."""
RISKS = frozenset(
    {"self_harm", "method", "other_self_harm", "danger", "harm_others", "distress", "delusion", "radical"}
)
"""Tags that say who is at risk. They and the purpose are void in a setting; subjects are not."""
PURPOSE = "malicious"

_IDIOM, _FRAME, _SETTING, _DEFENCE = "idiom", "frame", "setting", "defence"
_CUE = "cue."
_AROUND = frozenset({_IDIOM, _FRAME, _SETTING, _DEFENCE})
_STOP = re.compile(r" \. ")
_WRAPPERS = frozenset({"override", "order", "unbound", "persona"})
_CONTIGUOUS = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


class CueRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cues that say little alone. All of them in one sentence, or in two neighbouring ones, stand for `tag`."""

    tag: str
    cues: tuple[str, ...]


class PhraseFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of phrases by tag, in the language of `phrase_matching`.

    `patterns` are regular expressions, for languages without spaces between words. `classes` are words that the
    phrases of every file may name.
    """

    phrases: dict[str, tuple[str, ...]] = {}
    patterns: dict[str, tuple[str, ...]] = {}
    classes: dict[str, tuple[str, ...]] = {}
    rules: tuple[CueRule, ...] = ()


class Phrases(NamedTuple):
    """The phrases of a folder, ready to be found."""

    table: PhraseTable
    patterns: Mapping[str, re.Pattern[str]]
    rules: tuple[CueRule, ...]


class _Surroundings:
    """The idioms, frames, defences and settings of a spelled text, which decide whether a phrase counts."""

    def __init__(self, text: str, hits: list[Hit]) -> None:
        self._stops = [match.start() for match in _STOP.finditer(text)]
        self._idioms = joined((hit.start, hit.end) for hit in hits if hit.tag == _IDIOM)
        self._idiom_starts = [start for start, _ in self._idioms]
        self._settings = [hit.start for hit in hits if hit.tag == _SETTING]
        self._framed = {tag: {self.sentence(hit) for hit in hits if hit.tag == tag} for tag in (_FRAME, _DEFENCE)}

    def void(self, hit: Hit) -> bool:
        """Return whether the surroundings make a phrase harmless.

        An idiom does so if it overlaps the phrase, a frame in its sentence, a defence in its sentence unless the phrase
        is a risk, and a setting for risks and the purpose that follow it shortly.
        """
        sentence = self.sentence(hit)
        is_risk = hit.tag in RISKS or hit.tag.startswith(_CUE)
        if self._is_idiom(hit) or sentence in self._framed[_FRAME]:
            return True
        if not is_risk and sentence in self._framed[_DEFENCE]:
            return True
        return (is_risk or hit.tag == PURPOSE) and self._is_set(hit)

    def sentence(self, hit: Hit) -> int:
        """Return the index of the sentence that the hit starts in."""
        return bisect_left(self._stops, hit.start)

    def _is_set(self, hit: Hit) -> bool:
        before = bisect_left(self._settings, hit.start)
        return before > 0 and self._settings[before - 1] >= hit.start - FRAMED_CHARACTERS_MAX

    def _is_idiom(self, hit: Hit) -> bool:
        before = bisect_left(self._idiom_starts, hit.end)
        return before > 0 and self._idioms[before - 1][1] > hit.start


def tags_in(text: str) -> frozenset[str]:
    """Return the tags of the phrases that count in the text: of all but those that their surroundings make harmless."""
    plain = spelled(text)
    hits = _packaged().table.find(plain)
    around = _Surroundings(plain, hits)
    counting = [hit for hit in hits if hit.tag not in _AROUND and (hit.tag in _WRAPPERS or not around.void(hit))]
    tags = {hit.tag for hit in counting if not hit.tag.startswith(_CUE)}
    cues = [(around.sentence(hit), hit.tag) for hit in counting if hit.tag.startswith(_CUE)]
    return frozenset(tags) | _tags_by_rule(cues) | _contiguous_tags(text)


def _tags_by_rule(cues: list[tuple[int, str]]) -> frozenset[str]:
    """Return the tags whose rule finds all of its cues in one sentence or in two neighbouring ones."""
    by_sentence: dict[int, set[str]] = {}
    for sentence, cue in cues:
        by_sentence.setdefault(sentence, set()).add(cue)
    near = [here | by_sentence.get(sentence + 1, set()) for sentence, here in by_sentence.items()]
    return frozenset(rule.tag for rule in _packaged().rules if any(found.issuperset(rule.cues) for found in near))


def _contiguous_tags(text: str) -> frozenset[str]:
    if not _CONTIGUOUS.search(text):
        return frozenset()
    folded = fold(text)
    return frozenset(tag for tag, pattern in _packaged().patterns.items() if pattern.search(folded))


def read_phrases(folder: Path) -> Phrases:
    """Return the phrases of every file in `folder`. Raises PhraseError, naming file and entry."""
    files = {path.name: _read(path) for path in sorted(folder.glob("*.yaml"))}
    classes = {name: words for file in files.values() for name, words in file.classes.items()}
    reader = PhraseReader(classes)
    phrases = [phrase for name, file in files.items() for phrase in _phrases(name, file, reader)]
    rules = tuple(chain.from_iterable(file.rules for file in files.values()))
    _require_cues(rules, {phrase.tag for phrase in phrases})
    return Phrases(PhraseTable(phrases), _patterns(files), rules)


def _read(path: Path) -> PhraseFile:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=PhraseFile)
    except msgspec.DecodeError as exc:
        raise PhraseError(f"{path.name}: {exc}") from exc


def _phrases(name: str, file: PhraseFile, reader: PhraseReader) -> Iterator[Phrase]:
    for tag, lines in file.phrases.items():
        for line in lines:
            try:
                yield reader.read(tag, line)
            except PhraseError as exc:
                raise PhraseError(f"{name}: {tag}: `{line}`: {exc}") from exc


def _patterns(files: Mapping[str, PhraseFile]) -> dict[str, re.Pattern[str]]:
    tags = {tag for file in files.values() for tag in file.patterns}
    return {tag: _pattern(tag, {name: file.patterns.get(tag, ()) for name, file in files.items()}) for tag in tags}


def _pattern(tag: str, lines: Mapping[str, Iterable[str]]) -> re.Pattern[str]:
    """Return one pattern for the lines of all files. Raises PhraseError for one that is none, or matches any text."""
    with suppress(re.error):
        pattern = re.compile("|".join(chain.from_iterable(lines.values())))
        if pattern.search("") is None:
            return pattern
    for name, line in ((name, line) for name, own in lines.items() for line in own):
        try:
            matches_all = re.compile(line).search("") is not None
        except re.error as exc:
            raise PhraseError(f"{name}: {tag}: `{line}`: {exc}") from exc
        if matches_all:
            raise PhraseError(f"{name}: {tag}: `{line}`: it matches every text")
    raise PhraseError(f"{tag}: the patterns of {', '.join(lines)} do not go together")


def _require_cues(rules: Iterable[CueRule], tags: set[str]) -> None:
    for rule in rules:
        missing = sorted(set(rule.cues) - tags)
        if missing:
            raise PhraseError(f"rules: {rule.tag}: there is no cue {', '.join(missing)}")


@functools.cache
def _packaged() -> Phrases:
    return read_phrases(PHRASES_FOLDER)
