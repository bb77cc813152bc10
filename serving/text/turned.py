# ruff: noqa: RUF001
"""Texts that are turned: letters upside down, or letters that a direction mark shows in the reverse order.

A model reads letters as they are stored, a person as they are shown, so what is shown is one more text to judge.
"""

import re
from collections.abc import Iterator

from serving.text.joined_words import is_word
from serving.text.language import common_words

CHARACTERS_MAX = 8_192
"""The characters of a text that are searched for turned lines."""

_TURNED = "ɐqɔpǝɟƃɓɥᴉıɾſʞʅןɯuodbɹʇnʌʍʎ∀ƆƎℲ⅁˥⅂WMԀ┴⊥∩Λ⅄¡¿˙"
_UPRIGHT = "abcdefgghiijjkllmnopqrtuvwyACEFGLLMWPTTUVY!?."
_LETTERS = str.maketrans(_TURNED, _UPRIGHT)
_ONLY_TURNED = re.compile("[ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ∀ƆƎℲ⅁˥⅂⅄]")
_FOREIGN = re.compile(rf"(?![{re.escape(_TURNED)}])[^\W\d_a-zA-Z]")
_TURNED_MIN, _TURNED_SHARE_MIN, _FOREIGN_SHARE_MAX = 3, 0.2, 0.05
"""A line is upside down if it has so many letters that exist only so, and hardly any of other alphabets."""
_WORD = re.compile(r"[^\W\d_]{3,20}")

_OVERRIDDEN = re.compile("\u202e([^\u202c\n\u2029]+)\u202c?")
_COMMON_MIN = 2


def shown(text: str) -> Iterator[str]:
    """Yield readings of the text as a person sees it, where that differs and makes words: at most two."""
    start = text[:CHARACTERS_MAX]
    if _ONLY_TURNED.search(start):
        lines = start.splitlines()
        upright = [_upright(line) for line in lines]
        if upright != lines:
            yield "\n".join(upright)
    if _OVERRIDDEN.search(start):
        forward = _OVERRIDDEN.sub(lambda stretch: stretch[1][::-1], start)
        if common_words(forward) > common_words(start):
            yield forward


def _upright(line: str) -> str:
    """Return the line with its letters upright, all or those of single words; as it is, if that makes no words."""
    letters = sum(letter.isalpha() for letter in line)
    turned = len(_ONLY_TURNED.findall(line))
    single = _WORD.sub(_upright_word, line) if turned else line
    is_turned = turned >= max(_TURNED_MIN, _TURNED_SHARE_MIN * letters)
    if not is_turned or len(_FOREIGN.findall(line)) > _FOREIGN_SHARE_MAX * letters:
        return single
    mapped = line.translate(_LETTERS)
    best = max((mapped[::-1], mapped, single), key=common_words)
    return best if common_words(best) >= _COMMON_MIN else single


def _upright_word(match: re.Match[str]) -> str:
    word = match.group()
    if not _ONLY_TURNED.search(word):
        return word
    mapped = word.translate(_LETTERS)
    return next((each for each in (mapped[::-1], mapped) if is_word(each.lower())), word)
