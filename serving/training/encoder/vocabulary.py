"""The pruned vocabulary: which pieces of the tokenizer are kept, and the tokenizer that knows only these.

Four fifths of the base model's bytes are embeddings, most of them of languages and names that hardly occur. What is
kept: the special pieces, every single character, every piece that occurs in the given texts, then the commonest by the
tokenizer's own scores. A dropped piece is spelt with shorter ones that are kept.
"""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

SPECIAL = 4
"""`<s>`, `<pad>`, `</s>`, `<unk>`: the first pieces, which keep their ids."""

_SCRIPTS = (
    (0x0000, 0x024F),  # Latin
    (0x0300, 0x036F),
    (0x0370, 0x03FF),
    (0x0400, 0x052F),
    (0x0590, 0x06FF),
    (0x0900, 0x097F),
    (0x1E00, 0x1EFF),
    (0x2000, 0x2BFF),
    (0x3000, 0x30FF),
    (0x3400, 0x9FFF),
    (0xAC00, 0xD7AF),
    (0xFF00, 0xFFEF),
    (0x1F000, 0x1FAFF),
)
"""The scripts of the languages that the guards are trained and measured in, and signs."""


def kept_pieces(spelt: dict[str, Any], texts: Iterable[str], size: int) -> NDArray[np.int64]:
    """Return the ids of the `size` pieces to keep, ascending. `spelt` is the published tokenizer's JSON."""
    vocabulary: list[tuple[str, float]] = [(piece, score) for piece, score in spelt["model"]["vocab"]]
    seen = _seen(spelt, texts)
    kept = set(range(SPECIAL))
    kept.update(number for number, (piece, _) in enumerate(vocabulary) if len(piece) == 1 and _is_known(piece))
    by_use = sorted(seen, key=lambda number: (-seen[number], number))
    by_score = sorted(range(SPECIAL, len(vocabulary)), key=lambda number: (-vocabulary[number][1], number))
    for number in (*by_use, *by_score):
        if len(kept) >= size:
            break
        if _is_known(vocabulary[number][0]):
            kept.add(number)
    return np.array(sorted(kept), np.int64)


def pruned(spelt: dict[str, Any], kept: NDArray[np.int64]) -> str:
    """Return the JSON of a tokenizer that has only the pieces `kept`, numbered in their order."""
    vocabulary = spelt["model"]["vocab"]
    model = spelt["model"] | {"vocab": [vocabulary[number] for number in kept.tolist()]}
    added = [token for token in spelt["added_tokens"] if token["id"] < SPECIAL]
    changed = spelt | {"model": model, "added_tokens": added, "truncation": None, "padding": None}
    return json.dumps(changed, ensure_ascii=False, separators=(",", ":"))


def _seen(spelt: dict[str, Any], texts: Iterable[str]) -> Counter[int]:
    tokenizer = Tokenizer.from_str(json.dumps(spelt))
    tokenizer.no_truncation()
    seen: Counter[int] = Counter()
    for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        seen.update(encoding.ids)
    return seen


def _is_known(piece: str) -> bool:
    """Return whether a piece has only characters of the scripts that are kept."""
    return all(letter == "▁" or any(low <= ord(letter) <= high for low, high in _SCRIPTS) for letter in piece)
