"""How varied labelled texts are: near duplicates by MinHash, and the share of word pairs that are distinct."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HASHES = 64
BANDS = 16
"""Signatures that agree in one band of four hashes are compared in full: texts that share half of their shingles are
found with a chance of about two thirds, those that share four fifths always."""
SIMILAR_MIN = 0.7
SHINGLE_WORDS = 3
SHINGLE_LETTERS = 5

_WORDS = re.compile(r"[\w\u0900-\u0963\u0971-\u097f]+")
_PRIME = np.uint64((1 << 61) - 1)


def near_duplicates(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return pairs of ids whose texts are nearly the same: at least `SIMILAR_MIN` of their shingles are common."""
    shingles = {name: _shingles(text) for name, text in texts.items()}
    bands: defaultdict[tuple[int, bytes], list[str]] = defaultdict(list)
    for name, found in shingles.items():
        signature = _signature(found).reshape(BANDS, -1)
        for band, part in enumerate(signature):
            bands[band, part.tobytes()].append(name)
    candidates = {
        (one, other) for names in bands.values() for place, one in enumerate(names) for other in names[place + 1 :]
    }
    return sorted(pair for pair in candidates if _likeness(shingles[pair[0]], shingles[pair[1]]) >= SIMILAR_MIN)


def distinct_pairs(texts: Iterable[str]) -> float:
    """Return the share of neighbouring word pairs that are distinct, over all texts; 0 without any."""
    pairs = [pair for text in texts for pair in pairwise(words_of(text))]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def words_of(text: str) -> Sequence[str]:
    """Return a text's words; of a text in a script without spaces, its letters."""
    words = _WORDS.findall(text.lower())
    return words if len(words) > 2 or not words else list("".join(words))


def _shingles(text: str) -> frozenset[int]:
    words = words_of(text)
    length = SHINGLE_WORDS if len(words) > 1 and len(words[0]) > 1 else SHINGLE_LETTERS
    pieces = {" ".join(words[at : at + length]) for at in range(max(1, len(words) - length + 1))}
    return frozenset(int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=7).digest()) for piece in pieces)


def _signature(shingles: frozenset[int]) -> NDArray[np.uint64]:
    random = np.random.default_rng(0)
    factors = random.integers(1, 1 << 30, HASHES, dtype=np.uint64)[:, None]
    offsets = random.integers(0, 1 << 30, HASHES, dtype=np.uint64)[:, None]
    values = np.fromiter(shingles, np.uint64, len(shingles))[None, :] % _PRIME
    return ((values * factors + offsets) % _PRIME).min(1)


def _likeness(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other)
