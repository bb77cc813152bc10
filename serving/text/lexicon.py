"""Terms by meaning, and the rules by which terms near each other name a category.

A term is one or more whole words, with or without a plural s; a trailing star matches any ending. One pass over the
words of a text finds every term, so time grows only with the text.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from serving.text.phrases import tags_in
from topology.contract.labels import CategoryId

TERMS_FILE = Path(__file__).parent / "terms.yaml"
NEAR_WORDS = 10
PHRASE_PREFIX = "phrase."
Hits = Mapping[str, tuple[int, ...]]
"""Tag → positions (in words) at which its terms start, ascending."""

_WORD = re.compile(r"[\w']+")


class TermsError(ValueError):
    """A file of terms that must not be used; `args` is (what is wrong)."""


class TopicRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule that names a category if a `near` term is at most `before` words before a topic or `after` words after it.

    Without `near`, a topic alone is enough. A term of `unless` voids the rule. Of a `group`, only the first rule that
    fits counts; one with an empty category names nothing and silences the rest of its group.
    """

    category: str
    topics: tuple[str, ...]
    near: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    before: int = NEAR_WORDS
    after: int = NEAR_WORDS
    group: str = ""


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of terms by tag, and of the rules that name categories, in order of precedence."""

    terms: dict[str, tuple[str, ...]]
    rules: tuple[TopicRule, ...]


class _Term(NamedTuple):
    words: tuple[str, ...]
    tag: str


def words_of(folded: str) -> list[str]:
    """Return the words of a folded text, without possessive endings."""
    return [word.removesuffix("'s").strip("'") for word in _WORD.findall(folded)]


class Lexicon:
    """Terms by tag, ready to be found in the words of a text."""

    def __init__(self, terms: Mapping[str, Iterable[str]]) -> None:
        self._exact: dict[str, list[_Term]] = {}
        self._prefixes: dict[str, list[str]] = {}
        for tag, own in terms.items():
            for term in own:
                self._add(tag, term)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})

    def find(self, words: list[str]) -> Hits:
        """Return where the terms of each tag start."""
        found: dict[str, list[int]] = {}
        for index, word in enumerate(words):
            for term in self._exact.get(word, ()):
                if self._follows(words, index, term.words):
                    found.setdefault(term.tag, []).append(index)
            for length in self._lengths:
                if length > len(word):
                    break
                for tag in self._prefixes.get(word[:length], ()):
                    found.setdefault(tag, []).append(index)
        return {tag: tuple(positions) for tag, positions in found.items()}

    def _add(self, tag: str, term: str) -> None:
        words = tuple(term.split())
        if len(words) == 1 and term.endswith("*"):
            self._prefixes.setdefault(term[:-1], []).append(tag)
            return
        for first in {words[0], _plural(words[0])} if len(words) == 1 else {words[0]}:
            self._exact.setdefault(first, []).append(_Term(words, tag))

    @staticmethod
    def _follows(words: list[str], index: int, wanted: tuple[str, ...]) -> bool:
        if len(wanted) == 1:
            return True
        stretch = words[index : index + len(wanted)]
        if len(stretch) < len(wanted) or tuple(stretch[:-1]) != wanted[:-1]:
            return False
        last, found = wanted[-1], stretch[-1]
        return found.startswith(last[:-1]) if last.endswith("*") else found in {last, _plural(last)}


def read_terms(path: Path) -> Terms:
    """Return the terms of a file. Raises TermsError, naming file and entry."""
    try:
        terms = msgspec.yaml.decode(path.read_bytes(), type=Terms)
    except msgspec.DecodeError as exc:
        raise TermsError(f"{path.name}: {exc}") from exc
    for rule in terms.rules:
        named = {tag for tag in (*rule.topics, *rule.near, *rule.unless) if not tag.startswith(PHRASE_PREFIX)}
        missing = sorted(named - terms.terms.keys())
        if missing:
            raise TermsError(f"{path.name}: rules: {rule.category}: there are no terms {', '.join(missing)}")
    return terms


@functools.cache
def _packaged() -> tuple[Lexicon, tuple[TopicRule, ...]]:
    terms = read_terms(TERMS_FILE)
    return Lexicon(terms.terms), terms.rules


def hits_in(folded: str) -> Hits:
    """Return where the terms of a folded text start and, at position 0, `phrase.<tag>` for each tag of its phrases."""
    phrases = {PHRASE_PREFIX + tag: (0,) for tag in tags_in(folded)}
    return {**_packaged()[0].find(words_of(folded)), **phrases}


def topics(hits: Hits) -> list[CategoryId]:
    """Return the categories that the hits name, in the order of the rules; of each group the first that fits counts."""
    named: list[CategoryId] = []
    taken: set[str] = set()
    for rule in _packaged()[1]:
        if rule.group in taken or not fits(rule, hits):
            continue
        if rule.group:
            taken.add(rule.group)
        if rule.category and rule.category not in named:
            named.append(CategoryId(rule.category))
    return named


def fits(rule: TopicRule, hits: Hits) -> bool:
    """Return whether a topic of the rule is close enough to one of its `near` terms, and no term voids it."""
    if any(tag in hits for tag in rule.unless):
        return False
    positions = [position for tag in rule.topics for position in hits.get(tag, ())]
    if not rule.near:
        return bool(positions)
    near = sorted(position for tag in rule.near for position in hits.get(tag, ()))
    return any(is_near(position, near, rule.before, rule.after) for position in positions)


def is_near(position: int, others: list[int], before: int, after: int) -> bool:
    """Return whether another position is at most `before` words before this one, or `after` words after it."""
    return any(position - before <= other <= position + after and other != position for other in others)


def _plural(word: str) -> str:
    return word + "s"
