"""The list of English words by which joined words are taken apart: `python -m serving.training.words` writes it anew.

A word counts if several authors of the corpus wrote it several times; that leaves out names, slips and disguised words.
Behind these stand the words that phrases and terms look for.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from serving.text.joined_words import WORDS_FILE
from serving.text.lexicon import TERMS_FILE
from serving.text.phrases import PHRASES_FOLDER

CORPUS = Path(__file__).parent / "corpus"
AUTHORS_MIN, COUNT_MIN = 3, 4
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_SHORT = frozenset((
    "a", "i", "to", "it", "in", "is", "my", "of", "on", "do", "me", "at", "or", "so", "if", "be", "im", "as", "no",
    "an", "by", "up", "he", "we", "go", "us", "am",
))  # fmt: skip
_LOOKED_FOR = re.compile(r"(?<![\w{'*-])[a-z]{4,}(?![\w*:'-])")
_TEXTS = ("text", "reply", "messages", "document", "request")


def words(corpus: Path) -> list[str]:
    """Return the words of the corpus' English rows, the most frequent first."""
    counts: Counter[str] = Counter()
    authors: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(corpus.glob("*/*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for text in _texts(row) if row.get("lang") == "en" else ():
                found = [word.replace("'", "") for word in _WORD.findall(text.lower())]
                counts.update(found)
                for word in found:
                    authors[word].add(path.stem)
    kept = [word for word, count in counts.most_common() if count >= COUNT_MIN and len(authors[word]) >= AUTHORS_MIN]
    kept = [word for word in kept if len(word) > 2 or word in _SHORT]
    return [*kept, *sorted(_looked_for() - set(kept))]


def _looked_for() -> set[str]:
    texts = [path.read_text(encoding="utf-8") for path in (TERMS_FILE, *PHRASES_FOLDER.glob("english_*.yaml"))]
    return {word for text in texts for word in _LOOKED_FOR.findall(text)}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for name in _TEXTS:
            yield from _texts(value.get(name))


if __name__ == "__main__":
    WORDS_FILE.write_text("\n".join([*words(CORPUS), ""]), encoding="ascii")
