"""How varied the slices of the corpus are: `python -m serving.training.variety` prints a table, never a row's text.

Distinct-n is the share of runs of n neighbouring words that are distinct. It falls with the number of words, so each
slice is measured on as many, in English and over all languages.
"""

import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from serving.evaluation.rows import DocumentRow, ReplyRow, RequestRow, Row, read_rows
from serving.training.diversity import words_of

CORPUS = Path(__file__).parent / "corpus"
WORDS = 5_000
SEED = 7
SLICES: Mapping[str, tuple[str, ...]] = {
    "people at risk": ("a01", "a02", "a03", "a04", "a22", "a23", "a24"),
    "ordinary users": ("a05", "a06", "a07", "a08", "a09"),
    "weapons, drugs, violence": ("a10", "a11", "a12"),
    "cyber, fraud, privacy": ("a13", "a14", "a15"),
    "sexual content, minors, hate": ("a16", "a17", "a18"),
    "attacks and wrappers": ("a19", "a20", "a21"),
    "few words, twins, indirect": ("a25", "a26", "a27", "a28", "a29", "a30"),
    "calibration and reports": ("d",),
    "replies": ("r",),
    "documents": ("o",),
}
"""The authors of each slice, by prefix; the data card says what they wrote."""


def main() -> int:
    """Print the table."""
    rows = [row for path in sorted(CORPUS.glob("*/*.jsonl")) for row in read_rows(path)]
    print("\n".join(table(rows)))
    return 0


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each slice that has rows, below a head."""
    yield f"| slice | rows | distinct-1 | distinct-2 | distinct-3 | distinct-2, English | of {WORDS:,} words |"
    yield "|---|---|---|---|---|---|---|"
    for name, authors in SLICES.items():
        chosen = [row for row in rows if row.author.startswith(authors)]
        words = sampled(map(text_of, chosen))
        english = sampled(text_of(row) for row in chosen if row.lang == "en")
        if words:
            shares = " | ".join(f"{distinct(words, n):.3f}" for n in (1, 2, 3))
            yield f"| {name} | {len(chosen)} | {shares} | {distinct(english, 2):.3f} | {sum(map(len, words)):,} |"


def text_of(row: Row) -> str:
    """Return what the author of a row wrote last: the request, the reply or the document."""
    match row:
        case RequestRow():
            return row.messages[-1].text
        case ReplyRow():
            return row.reply
        case DocumentRow():
            return row.text
        case _:
            return ""


def sampled(texts: Iterable[str]) -> list[Sequence[str]]:
    """Return the words of some texts, drawn from a seed until there are `WORDS`; fewer if there are no more."""
    given = list(texts)
    random.Random(SEED).shuffle(given)
    found: list[Sequence[str]] = []
    left = WORDS
    for text in given:
        words = words_of(text)[:left]
        left -= len(words)
        found.append(words)
        if not left:
            break
    return found


def distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """Return the share of runs of `n` words within a text that are distinct; 0 without any."""
    runs = [tuple(words[at : at + n]) for words in texts for at in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


if __name__ == "__main__":
    sys.exit(main())
