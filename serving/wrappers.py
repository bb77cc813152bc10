"""Wrappers around a request: encodings, jailbreak personas, orders in text that has no say."""

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator
from itertools import islice
from urllib.parse import unquote_to_bytes

from serving.phrases.table import tags_in

ENCODED_CHARACTERS_MAX = 8_192
DECODINGS_MAX = 8
_PRINTABLE_SHARE_MIN = 0.9
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/]{24,}={0,2}(?![A-Za-z0-9+/=])")
_HEX = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2} ?){12,}(?![0-9A-Fa-f])")
_BINARY = re.compile(r"(?<![01])(?:[01]{8} ?){6,}(?![01])")
_PERCENT = re.compile(r"[\w.\-+]{0,40}(?:%[0-9A-Fa-f]{2}[\w.\-+]{0,40}){4,}")
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
_QUOTES = re.compile(
    r"```(.{1,20000}?)```|\"([^\"]{20,20000})\"|“([^“”]{20,20000})”|(?:^|\n)((?:> ?[^\n]*\n?){1,500})", re.DOTALL
)

# A task about a text, then a colon or a new line, then the text.
_PASTED = re.compile(
    r"[^\n]{0,200}?\b(?:summar\w{1,6}|sum up|translat\w{1,4}|proofread|paraphrase|rephrase|classify|review|extract|"
    r"reply to|respond to|answer this|rewrite|analy[sz]e|check|page|article|text|e-?mail|message|document|letter|cv|"
    r"resume|post|comment|website|shorten)\b"
    r"[^\n:]{0,200}(?::|\n)(?!//)(.{20,})",
    re.IGNORECASE | re.DOTALL,
)
_ORDERS = frozenset({"override", "order"})


def decoded(text: str) -> tuple[str, ...]:
    """What encoded stretches of the text say in plain; at most `DECODINGS_MAX`, only where it is readable text."""
    return tuple(dict.fromkeys(islice(_decodings(text), DECODINGS_MAX)))


def _decodings(text: str) -> Iterator[str]:
    for pattern, decode in _ENCODINGS:
        for match in pattern.finditer(text):
            yield from _readable(decode(match.group()[:ENCODED_CHARACTERS_MAX]))
    hidden = "".join(chr(ord(letter) - _TAGS_START) for letter in _TAGS.findall(text)[:ENCODED_CHARACTERS_MAX])
    yield from _readable(hidden.encode())
    start = text[:ENCODED_CHARACTERS_MAX]
    if _ROT.search(text):
        yield codecs.decode(start, "rot13")
    if _BACKWARDS.search(text) and len(_COMMON.findall(start[::-1])) >= _COMMON_MIN:
        yield start[::-1]
    if len(_LEET.findall(start)) >= max(_LEET_WORDS_MIN, _LEET_SHARE_MIN * len(start.split())):
        yield start.translate(_LEET_LETTERS)
    if _SPACED.search(start):
        yield _SPACED.sub(lambda match: _BETWEEN.sub("", match.group()) + " ", start)


def quoted_stretches(text: str) -> tuple[str, ...]:
    """Code blocks, long quotations, quoted lines, pasted text: what the user shows rather than says."""
    quoted = tuple(next(group for group in match.groups() if group) for match in _QUOTES.finditer(text))
    pasted = _PASTED.match(text)
    return (*quoted, pasted.group(1)) if pasted else quoted


def spoken(text: str) -> str:
    """The text without what the user only shows."""
    for shown in quoted_stretches(text):
        text = text.replace(shown, " ")
    return text


def gives_orders(text: str) -> bool:
    """Whether text without authority tells the assistant to drop its instructions or to hide something."""
    return not _ORDERS.isdisjoint(tags_in(text))


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _from_binary(text: str) -> bytes:
    return bytes(int(octet, 2) for octet in re.findall("[01]{8}", text))


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


_ENCODINGS: tuple[tuple[re.Pattern[str], Callable[[str], bytes]], ...] = (
    (_BASE64, _from_base64),
    (_HEX, _from_hex),
    (_BINARY, _from_binary),
    (_PERCENT, unquote_to_bytes),
)


def _readable(content: bytes) -> tuple[str, ...]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return ()
    shown = sum(letter.isprintable() or letter.isspace() for letter in text)
    spaced = " " in text
    return (text,) if text and spaced and shown >= _PRINTABLE_SHARE_MIN * len(text) else ()
