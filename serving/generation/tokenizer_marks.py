"""The marks that a tokenizer knows, out of its published documents or out of a conversation that it wrote.

Documents are JSON as model hubs hold them. What is no such document raises one of UNREADABLE.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw, Struct

from serving.text.mark_families import families_of

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)

_TOKEN_KEY = re.compile(r"\w+_tokens?")
"""Keys of a configuration whose texts are special tokens: `bos_token`, `image_token`, `additional_special_tokens`."""

_NAME_BETWEEN_SIGNS = re.compile(r"[^\w\s].*\w.*[^\w\s]", re.DOTALL)

_HTML = re.compile(
    r"</?(?:a|abbr|b|bbox|blockquote|body|br|caption|code|col|dd|del|div|dl|dt|em|footer|h[1-6]|head|header|hr|html|i"
    r"|iframe|img|input|ins|kbd|label|li|link|main|meta|nav|ol|option|p|pre|q|script|section|select|small|span|strike"
    r"|strong|style|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|u|ul|var|video)>"
)
"""Tags that some vocabularies hold for web pages. They tell no turns apart, and texts are full of them."""

_ROLE = r"(?:system|user|assistant|human|bot|instruction|input|response|question|answer)s?"
_WRITTEN = re.compile(
    r"<<[^<>\s]{1,64}>>|<(?!0x[0-9A-F]{2}>)[^<>\s]{1,126}>"
    r"|(?<![\w)\]])\[(?=[^\[\]\s]*[A-Za-z])[^\[\]\s\"',:]{1,64}\]"  # behind these a bracket is an index of the template
    rf"|#{{2,6}} ?{_ROLE}\b(?: [a-z]{{1,20}})?:?"
    rf"|(?<!\w){_ROLE}:",
    re.IGNORECASE,
)
"""What a template writes to tell turns apart: marks in brackets, and roles with a colon or as a heading."""

_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r"}


class _Token(Struct):
    """A token that was added to a vocabulary."""

    content: str
    special: bool = False


class _Vocabulary(Struct):
    """The part of a `tokenizer.json` that counts."""

    added_tokens: list[_Token] = []


class _Control(Struct):
    """A control token in Mistral's own form."""

    token_str: str


class _MistralVocabulary(Struct):
    """The part of a `tekken.json` that counts. `special_tokens` is None in files older than those tokens' names."""

    special_tokens: list[_Control] | None = None


def marks_of_vocabulary(document: bytes) -> set[str]:
    """Return the marks among the added tokens of a `tokenizer.json`."""
    return set(_marks(msgspec.json.decode(document, type=_Vocabulary).added_tokens))


def marks_of_mistral_vocabulary(document: bytes) -> set[str]:
    """Return the control tokens of a `tekken.json`; of one that does not name them, those of its makers' models."""
    tokens = msgspec.json.decode(document, type=_MistralVocabulary).special_tokens
    if tokens is None:
        return {mark for family in families_of("mistral") for mark in (*family.marks, *family.words)}
    return {token.token_str for token in tokens if _is_breakable(token.token_str)}


def marks_of_configuration(document: bytes) -> set[str]:
    """Return the marks that a `tokenizer_config.json` or a document of its form names, its chat templates included."""
    fields = msgspec.json.decode(document, type=dict[str, Raw])
    added = msgspec.json.decode(fields.get("added_tokens_decoder", b"{}"), type=dict[str, _Token | str])
    found = set(_marks(each if isinstance(each, _Token) else _Token(content=each) for each in added.values()))
    for key, raw in fields.items():
        if _TOKEN_KEY.fullmatch(key):
            found.update(filter(_is_breakable, _texts(msgspec.json.decode(raw))))
    for template in _texts(msgspec.json.decode(fields.get("chat_template", b"null"))):
        found |= marks_of_template(template)
    return found


def marks_of_template(template: str) -> set[str]:
    """Return the marks that a chat template writes."""
    for escape, character in _ESCAPES.items():
        template = template.replace(escape, character)
    return {found.group() for found in _WRITTEN.finditer(template)}


def marks_of_rendering(tokens: Iterable[str]) -> set[str]:
    """Return the marks that a template wrote around messages that have none, from the texts of all tokens."""
    pieces = (f" {token[1:]}" if token.startswith("▁") else token for token in tokens)
    text = "".join(pieces).replace("Ġ", " ").replace("Ċ", "\n").replace("<0x0A>", "\n")
    return {found.group() for found in _WRITTEN.finditer(text)}


def _marks(added: Iterable[_Token]) -> Iterator[str]:
    """Yield the tokens that are special, and those that look like a mark and are no tag of a web page."""
    for token in added:
        looks_like_one = _NAME_BETWEEN_SIGNS.fullmatch(token.content) and not _HTML.fullmatch(token.content)
        if (token.special or looks_like_one) and _is_breakable(token.content):
            yield token.content


def _is_breakable(token: str) -> bool:
    """Return whether a space can stand inside the token: some are blanks, some are one character."""
    return len(token.strip()) > 1


def _texts(value: object) -> Iterator[str]:
    """Yield a text itself, the `content` or `template` of an object, or the texts of a collection's parts."""
    match value:
        case str():
            yield value
        case {"content": part} | {"template": part}:
            yield from _texts(part)
        case dict():
            for part in value.values():
                yield from _texts(part)
        case list():
            for part in value:
                yield from _texts(part)
        case _:
            return
