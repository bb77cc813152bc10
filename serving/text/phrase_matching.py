"""The small language of phrases, and the table that finds them in a spelled text, word by word.

A phrase is words with a space between. `a|b` is a choice, in which `_` stands for a space; a trailing `*` any ending;
a trailing `?` makes the word optional; `~` is up to three words between, `~5` up to five, never across a sentence's
end; `{name}`, at the start of a choice, a class of words.

The table has no regular expressions, which took seconds to compile, but bit masks. They tell which phrases have a word
for each of their parts in a neighbourhood. Only those are compared, and only at one of their first words. Time is
proportional to the length of the text, because gaps and neighbourhoods are bounded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from serving.text.spelling import STOP, respelled, spelled

STEM_CHARACTERS_MIN = 3
"""Least length of a stem that a phrase starts with. With a shorter one it would be a candidate everywhere."""
_GAP_WORDS = 3
_STEM_START = 2
"""Letters by which stems are looked up; no stem is shorter, but for that of `*`."""


class PhraseError(ValueError):
    """A phrase that matches no text, or any text; `args` is (what is wrong with it)."""


class Hit(NamedTuple):
    """A phrase found: its tag, and [start, end) in characters of the spelled text."""

    tag: str
    start: int
    end: int


Alternative = tuple[int, tuple[str, ...]]
"""One wording of a choice: its number in the choice, and its words."""


class Choice(NamedTuple):
    """A part of a phrase: alternatives. The first one that lets the rest of the phrase follow is taken."""

    by_word: Mapping[str, Sequence[Alternative]]
    """Alternatives by their first word."""
    by_stem: Mapping[str, Sequence[Alternative]]
    """Alternatives whose first word is a stem, by that stem."""
    alone: frozenset[str]
    """Words that start a single alternative, of one word: if one matches, there is nothing else to try."""
    is_optional: bool
    words_max: int

    def lengths(self, words: Sequence[str], position: int) -> Sequence[int]:
        """Return the lengths in words of the alternatives that match at `position`, in order."""
        if position >= len(words):
            return ()
        word = words[position]
        if word in self.alone:
            return (1,)
        fitting = self.by_word.get(word, ())
        if self.by_stem and word != STOP:
            stems = (alternatives for stem, alternatives in self.by_stem.items() if word.startswith(stem))
            fitting = sorted(chain(fitting, *stems))
        return [len(wanted) for _, wanted in fitting if len(wanted) == 1 or _follow(wanted, words, position)]


class Phrase(NamedTuple):
    """A phrase, taken apart: choices, and gaps given as their greatest number of words."""

    tag: str
    parts: tuple[Choice | int, ...]

    @property
    def words_max(self) -> int:
        """Return the number of words of the longest text that the phrase matches."""
        lengths = (part if isinstance(part, int) else part.words_max for part in self.parts)
        return sum(lengths)

    def slots(self) -> list[tuple[Choice, ...]]:
        """Return what a text must have of the phrase: one choice of each slot. The first slot is its start."""
        choices = [part for part in self.parts if isinstance(part, Choice)]
        needed = next(index for index, choice in enumerate(choices) if not choice.is_optional)
        others = choices[max(1, needed) :]
        return [tuple(choices[: needed + 1]), *((choice,) for choice in others if not choice.is_optional)]

    def end_at(self, words: Sequence[str], position: int, number: int = 0) -> int | None:
        """Return where the parts from `number` on end if they start at `position`; None if they do not match."""
        parts = self.parts
        while number < len(parts):
            part = parts[number]
            number += 1
            if isinstance(part, int):
                return self._end_behind_gap(words, position, number, part)
            lengths = part.lengths(words, position)
            if len(lengths) == 1 and not part.is_optional:
                position += lengths[0]
                continue
            for length in lengths:
                end = self.end_at(words, position + length, number)
                if end is not None:
                    return end
            if not part.is_optional:
                return None
        return position

    def _end_behind_gap(self, words: Sequence[str], position: int, number: int, gap_max: int) -> int | None:
        following = self.parts[number] if number < len(self.parts) else 0
        starts = None if isinstance(following, int) or following.is_optional or following.by_stem else following.by_word
        for start in range(position, min(position + gap_max, len(words)) + 1):
            word = words[start] if start < len(words) else STOP
            if starts is None or word in starts:  # most words of a gap are ruled out here
                end = self.end_at(words, start, number)
                if end is not None:
                    return end
            if word == STOP:
                return None
        return None


class PhraseReader:
    """A reader of phrases, which may name `classes`: names and the words that each stands for."""

    def __init__(self, classes: Mapping[str, Sequence[str]]) -> None:
        self._classes = {name: "|".join(words) for name, words in classes.items()}
        self._choices: dict[str, Choice] = {}
        self._findable = {STOP}

    def read(self, tag: str, line: str) -> Phrase:
        """Return the phrase of a line. Raises PhraseError."""
        new_words: list[str] = []
        parts = tuple(self._part(word, new_words) for word in respelled(line).split())
        self._require_findable(new_words)
        may_start = next((index for index, part in enumerate(parts) if not _is_optional(part)), None)
        if may_start is None:
            raise PhraseError("nothing in it is required")
        for part in parts[: may_start + 1]:
            if not isinstance(part, Choice):
                raise PhraseError("it starts with a gap")
            if any(len(stem) < STEM_CHARACTERS_MIN for stem in part.by_stem):
                raise PhraseError(f"it starts with a stem of less than {STEM_CHARACTERS_MIN} characters")
        return Phrase(tag, parts)

    def _part(self, word: str, new_words: list[str]) -> Choice | int:
        if word.startswith("~"):
            if word[1:] and not word[1:].isdecimal():
                raise PhraseError(f"{word} is no gap")
            return int(word[1:] or _GAP_WORDS)
        choice = self._choices.get(word)
        if choice is None:
            choice = self._choices[word] = self._choice(self._expanded(word), new_words)
        return choice

    def _choice(self, text: str, new_words: list[str]) -> Choice:
        by_word: dict[str, list[Alternative]] = {}
        by_stem: dict[str, list[Alternative]] = {}
        words_max = 1
        for number, wording in enumerate(text.removesuffix("?").split("|")):
            words = tuple(wording.split("_"))
            words_max = max(words_max, len(words))
            first = words[0]
            if first.endswith("*"):
                if 0 < len(first) - 1 < _STEM_START:
                    raise PhraseError(f"`{first}` has a stem of less than {_STEM_START} characters")
                by_stem.setdefault(first[:-1], []).append((number, words))
            else:
                by_word.setdefault(first, []).append((number, words))
            new_words += words
        alone = () if by_stem else (word for word, found in by_word.items() if len(found) == len(found[0][1]) == 1)
        return Choice(by_word, by_stem, frozenset(alone), text.endswith("?"), words_max)

    def _require_findable(self, words: Sequence[str]) -> None:
        """Raise PhraseError for a word that no spelled text holds: one that is misspelt, has a hyphen, or is empty."""
        unknown = [word for word in words if word not in self._findable and not word.endswith("*")]
        if spelled(" ".join(unknown)).split() != [*unknown, STOP]:
            odd = next(word for word in unknown if spelled(word).split() != [word, STOP])
            raise PhraseError(f"`{odd}` is never found, because a text with it is spelled otherwise")
        self._findable.update(unknown)

    def _expanded(self, word: str) -> str:
        """Return the choice with the class that it starts with written out."""
        if not word.startswith("{"):
            return word
        name, _, others = word[1:].partition("}")
        if name not in self._classes:
            raise PhraseError(f"there is no class {name}")
        return respelled(self._classes[name]) + others


class PhraseTable:
    """Phrases, ready to be found: a bit for each phrase and slot, the slots of one number side by side."""

    def __init__(self, phrases: Sequence[Phrase]) -> None:
        self._phrases = tuple(phrases)
        self._count = len(phrases)
        self._all = (1 << self._count) - 1
        self._span = max((phrase.words_max for phrase in phrases), default=1)
        self._words: dict[str, int] = {}
        self._stems: dict[str, int] = {}
        slots = [phrase.slots() for phrase in phrases]
        self._levels = max(map(len, slots), default=0)
        self._always = 0
        """The slots that phrases do not have, which count as filled."""
        for number, own in enumerate(slots):
            for level in range(self._levels):
                bit = 1 << (level * self._count + number)
                if level >= len(own):
                    self._always |= bit
                    continue
                for choice in own[level]:
                    _set(self._words, choice.by_word, bit)
                    _set(self._stems, choice.by_stem, bit)
        self._stem_lengths: dict[str, set[int]] = {}
        for stem in self._stems:
            self._stem_lengths.setdefault(stem[:_STEM_START], set()).add(len(stem))
        for word in self._words:
            self._words[word] |= self._stem_mask(word)

    def find(self, text: str) -> list[Hit]:
        """Return at most one hit for each tag and word of the spelled text, in order of start.

        Of several phrases of a tag that match at one word, the first in the table is the hit.
        """
        words = text.split()
        starts = [0]
        for word in words:
            starts.append(starts[-1] + len(word) + 1)
        found: list[Hit] = []
        for position, candidates in self._candidates(words):
            tags: set[str] = set()
            for phrase in self._chosen(candidates):
                if phrase.tag in tags:
                    continue
                end = phrase.end_at(words, position)
                if end is not None:
                    tags.add(phrase.tag)
                    found.append(Hit(phrase.tag, starts[position], starts[end]))
        return found

    def _candidates(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield each position at which phrases may start, and those phrases as a mask.

        Blocks are as long as the longest phrase, so that a phrase ends in the next block at the latest.
        """
        known = {word: self._mask(word) for word in set(words)}
        masks = [known[word] for word in words]
        here = _united(masks[: self._span])
        for low in range(0, len(words), self._span):
            following = _united(masks[low + self._span : low + 2 * self._span])
            possible = self._complete(here | following)
            here = following
            if not possible:
                continue
            for position in range(low, min(low + self._span, len(words))):
                starting = masks[position] & possible
                if starting:
                    yield position, starting

    def _mask(self, word: str) -> int:
        """Return the slots that the word may fill."""
        mask = self._words.get(word)
        return self._stem_mask(word) if mask is None else mask

    def _stem_mask(self, word: str) -> int:
        mask = self._stems.get("", 0)
        for length in self._stem_lengths.get(word[:_STEM_START], ()):
            mask |= self._stems.get(word[:length], 0)
        return mask

    def _complete(self, mask: int) -> int:
        """Return the phrases of which every slot is filled."""
        mask |= self._always
        complete = self._all
        for _ in range(self._levels):
            complete &= mask
            mask >>= self._count
        return complete

    def _chosen(self, mask: int) -> Iterator[Phrase]:
        while mask:
            lowest = mask & -mask
            mask ^= lowest
            yield self._phrases[lowest.bit_length() - 1]


def _is_optional(part: Choice | int) -> bool:
    return isinstance(part, Choice) and part.is_optional


def _set(masks: dict[str, int], keys: Iterable[str], bit: int) -> None:
    for key in keys:
        masks[key] = masks.get(key, 0) | bit


def _united(masks: Sequence[int]) -> int:
    united = 0
    for mask in masks:
        united |= mask
    return united


def _follow(wanted: Sequence[str], words: Sequence[str], position: int) -> bool:
    """Return whether the wanted words, except for the first, follow the word at `position`."""
    if position + len(wanted) > len(words):
        return False
    return all(_fits(each, words[position + index]) for index, each in enumerate(wanted) if index)


def _fits(wanted: str, word: str) -> bool:
    return wanted == word or (wanted.endswith("*") and word != STOP and word.startswith(wanted[:-1]))
