"""Wrappers around a request: encodings, jailbreak personas, orders in text that has no say."""

import base64
import binascii
import codecs
import re

from serving.phrases.table import tags_in

ENCODED_CHARACTERS_MAX = 8_192
DECODINGS_MAX = 8
_PRINTABLE_SHARE_MIN = 0.9
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/]{24,}={0,2}(?![A-Za-z0-9+/=])")
_HEX = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2} ?){12,}(?![0-9A-Fa-f])")
_ROT = re.compile(r"\brot[- ]?13\b", re.IGNORECASE)
_QUOTES = re.compile(
    r"```(.{1,20000}?)```|\"([^\"]{20,20000})\"|“([^“”]{20,20000})”|(?:^|\n)((?:> ?[^\n]*\n?){1,500})", re.DOTALL
)

# A task about a text, then a colon or a new line, then the text.
_PASTED = re.compile(
    r"[^\n]{0,200}?\b(?:summar\w{1,6}|sum up|translat\w{1,4}|proofread|paraphrase|rephrase|classify|review|extract|reply to|respond to|"
    r"answer this|rewrite|analy[sz]e|check|page|article|text|e-?mail|message|document|letter|cv|resume|post|comment|website|shorten)\b"
    r"[^\n:]{0,200}(?::|\n)(?!//)(.{20,})",
    re.IGNORECASE | re.DOTALL,
)
_ORDERS = frozenset({"override", "order"})


def decoded(text: str) -> tuple[str, ...]:
    """What encoded stretches of the text say in plain; at most `DECODINGS_MAX`, only where it is readable text."""
    found: list[str] = []
    for match in _BASE64.finditer(text):
        found.extend(_readable(_from_base64(match.group()[:ENCODED_CHARACTERS_MAX])))
        if len(found) >= DECODINGS_MAX:
            break
    for match in _HEX.finditer(text):
        found.extend(_readable(_from_hex(match.group()[:ENCODED_CHARACTERS_MAX])))
        if len(found) >= DECODINGS_MAX:
            break
    if _ROT.search(text):
        found.append(codecs.decode(text[:ENCODED_CHARACTERS_MAX], "rot13"))
    return tuple(found[:DECODINGS_MAX])


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


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _readable(content: bytes) -> tuple[str, ...]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return ()
    shown = sum(letter.isprintable() or letter.isspace() for letter in text)
    spaced = " " in text
    return (text,) if text and spaced and shown >= _PRINTABLE_SHARE_MIN * len(text) else ()
