"""Wrappers of a request: encodings, and orders in text without authority."""

import base64
import binascii
import codecs
import functools
import html
import re
from collections.abc import Callable, Iterator
from itertools import islice
from urllib.parse import unquote_to_bytes

from serving.text.invisible import hidden_bytes
from serving.text.joined_words import parted
from serving.text.phrases import tags_in
from serving.text.turned import shown

ENCODED_CHARACTERS_MAX = 8_192
DECODINGS_MAX = 8
TEXTS_KEPT = 8
"""The latest texts whose decodings are kept: several readers of one process read the same text one after the other."""
_PRINTABLE_SHARE_MIN = 0.9
# A line break may stand in the middle: mail programs and shells wrap after 60 to 76 characters.
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?:(?:[A-Za-z0-9+/]{20,}\r?\n[ \t]{0,8})++[A-Za-z0-9+/]*|[A-Za-z0-9+/]{24,})={0,2}"
    r"(?![A-Za-z0-9+/=])"
)
_BASE64_MIN = 24
_BASE32 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Z2-7]{24,}={0,6}(?![A-Za-z0-9+/=])")
_HEX = re.compile(r"(?<![0-9A-Fa-f])(?:0x)?(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ ,]{0,2}){12,}(?![0-9A-Fa-f])", re.IGNORECASE)
_HEX_MARKS = re.compile(r"0x|\\x|,", re.IGNORECASE)
_ESCAPES = re.compile(r"(?:\\u[0-9A-Fa-f]{4}[\w .,!?'-]{0,40}+){4,}")
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
_ENTITIES = re.compile(r"(?:&#(?:x[0-9A-Fa-f]{1,6}|[0-9]{1,7});[\w .,!?'-]{0,40}+){4,}", re.IGNORECASE)
_WORDS_BEFORE = re.compile(r"[\w .,!?'-]{0,40}\Z")
_BINARY = re.compile(r"(?<![01])(?:[01]{8} ?){6,}(?![01])")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2}[\w.\-+]{0,40}+){4,}")
_WORD_BEFORE = re.compile(r"[\w.\-+]{0,40}\Z")
_BEFORE_MAX = 40
"""The plain characters before the first escape that belong to an escaped text, as many as between two escapes."""
_TAGS_START = 0xE0000
_TAGS = re.compile("[\U000e0020-\U000e007e]")  # invisible copies of ASCII
_BACKWARDS = re.compile(r"\b(?:backwards?|reversed?|in reverse|mirror(?:ed)?)\b", re.IGNORECASE)
_COMMON = re.compile(r"\b(?:how|to|the|make|build|write|you|and|for|with|what|get|kill|ignore)\b", re.IGNORECASE)
_COMMON_MIN = 2
_LEET = re.compile(
    r"(?<!\w)[a-z]{0,12}(?:[a-z][013457@$][a-z]|[13457@$][a-z]{2}[13457@$])[a-z013457@$]{0,12}", re.IGNORECASE
)
_LEET_WORDS_MIN, _LEET_SHARE_MIN = 3, 0.25
_LEET_LETTERS = str.maketrans("013457@$", "oieastas")
_SPACED = re.compile(r"(?<!\w)(?:[A-Za-z][ .\-_*]{1,2}(?=[A-Za-z](?!\w))){5,80}[A-Za-z](?!\w)")
_BETWEEN = re.compile(r"[ .\-_*]")
_ROT = re.compile(r"\brot[- ]?13\b", re.IGNORECASE)
_ORDERS = frozenset({"override", "order"})


@functools.lru_cache(maxsize=TEXTS_KEPT)
def decoded(text: str) -> tuple[str, ...]:
    """Return the plain text of encoded stretches: at most `DECODINGS_MAX`, and only those that are readable."""
    return tuple(dict.fromkeys(islice(_decodings(text), DECODINGS_MAX)))


def _decodings(text: str) -> Iterator[str]:
    yield from (plain for _, plain in _encoded(text))
    hidden = "".join(chr(ord(letter) - _TAGS_START) for letter in _TAGS.findall(text)[:ENCODED_CHARACTERS_MAX])
    yield from _readable(hidden.encode())
    for content in hidden_bytes(text[:ENCODED_CHARACTERS_MAX]):
        yield from _readable(content)
    start = text[:ENCODED_CHARACTERS_MAX]
    if _ROT.search(text):
        yield codecs.decode(start, "rot13")
    if _BACKWARDS.search(text) and len(_COMMON.findall(start[::-1])) >= _COMMON_MIN:
        yield start[::-1]
    if len(_LEET.findall(start)) >= max(_LEET_WORDS_MIN, _LEET_SHARE_MIN * len(start.split())):
        yield start.translate(_LEET_LETTERS)
    if _SPACED.search(start):
        yield _SPACED.sub(lambda match: _BETWEEN.sub("", match.group()) + " ", start)
    yield from shown(text)
    yield from parted(text)


def encoded_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of encoded stretches that decode to readable text."""
    yield from (span for span, _ in _encoded(text))
    yield from (match.span() for match in _TAGS.finditer(text))


def _encoded(text: str) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield the span of each encoded stretch that decodes to readable text, and that text."""
    for pattern, before, decode in _ENCODINGS:
        end = 0
        for match in pattern.finditer(text):
            start = match.start()
            if (
                before is not None
            ):  # found from its first mark: from its first letter, each letter of a text costs 40 steps
                start = _start_before(before, text, max(end, start - _BEFORE_MAX), start)
            end = match.end()
            for plain in _readable(decode(text[start:end][:ENCODED_CHARACTERS_MAX])):
                yield (start, end), plain


def _start_before(before: re.Pattern[str], text: str, low: int, high: int) -> int:
    found = before.search(text[low:high])
    return low + found.start() if found else high


def gives_orders(text: str) -> bool:
    """Return whether the text tells the assistant to drop its instructions or to hide something."""
    return not _ORDERS.isdisjoint(tags_in(text))


def _from_base64(text: str) -> bytes:
    text = "".join(text.split())
    if len(text) < _BASE64_MIN:
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _from_base32(text: str) -> bytes:
    bare = text.rstrip("=")
    try:
        return base64.b32decode(bare + "=" * (-len(bare) % 8))
    except (binascii.Error, ValueError):
        return b""


def _from_binary(text: str) -> bytes:
    return bytes(int(octet, 2) for octet in re.findall("[01]{8}", text))


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(_HEX_MARKS.sub("", text))
    except ValueError:
        return b""


def _from_escapes(text: str) -> bytes:
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), text).encode("utf-8", "replace")


def _from_entities(text: str) -> bytes:
    return html.unescape(text).encode("utf-8", "replace")


_ENCODINGS: tuple[tuple[re.Pattern[str], re.Pattern[str] | None, Callable[[str], bytes]], ...] = (
    (_BASE64, None, _from_base64),
    (_BASE32, None, _from_base32),
    (_HEX, None, _from_hex),
    (_BINARY, None, _from_binary),
    (_PERCENT, _WORD_BEFORE, unquote_to_bytes),
    (_ESCAPES, _WORDS_BEFORE, _from_escapes),
    (_ENTITIES, _WORDS_BEFORE, _from_entities),
)
"""Each pattern of an encoding, what may stand before its first mark, and its decoder."""


def _readable(content: bytes) -> tuple[str, ...]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return ()
    shown = sum(letter.isprintable() or letter.isspace() for letter in text)
    spaced = " " in text
    return (text,) if text and spaced and shown >= _PRINTABLE_SHARE_MIN * len(text) else ()
