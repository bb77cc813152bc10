"""What the encoder reads: a text and what it stands in, as token ids within a window.

    request    query: <the user's messages since the last answer>      and  <the last turn before them>
    reply      passage: <the draft>                                     and  <the request it answers>
    document   document: <quoted or tool text>

Training and serving both make their ids here, so that they cannot differ.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serving.guards.encoder.heads import PREFIXES, Kind

BOS, PAD, EOS = 0, 1, 2
SPACE = "\u2581"
"""The token of a space that belongs to no word."""

WINDOW_TOKENS = 256
"""The most tokens of one pass, prefix, context and marks included."""
CONTEXT_TOKENS = 64
"""The most tokens of what a text stands in; its end is kept."""
CONTEXT_CHARACTERS = 400
"""The characters of each earlier turn from which those tokens are taken."""
PIECE_CHARACTERS = 4_000
"""The most characters that are tokenized at once: the tokenizer's time grows with the square of their number."""


SPARSE_CHARACTERS_MAX = 36
"""The length of a request of few words, some seven of them."""

SHOUTED_CHARACTERS_MIN = 12
"""The least length of a text whose capitals are no abbreviation."""

PARAGRAPH = "\n\n"


class Given(Struct, frozen=True, kw_only=True):
    """A text for the encoder, and what it stands in.

    `marked` are stretches of a long text, in characters, that are read before the rest of it.
    """

    kind: Kind
    text: str
    context: str = ""
    marked: tuple[tuple[int, int], ...] = ()


class Window(Struct, frozen=True, kw_only=True):
    """One pass: its token ids, and for each token of the text where it starts and ends (characters of the text)."""

    ids: NDArray[np.int64]
    places: Sequence[tuple[int, int]]
    first: int
    """The place of the text's first token among the ids."""


def windows_of(tokenizer: Tokenizer, given: Given, tokens_max: int = WINDOW_TOKENS) -> list[Window]:
    """Return the windows of a text in order: at least one, side by side, each with the whole context."""
    prefix = tokenizer.encode(PREFIXES[given.kind], add_special_tokens=False).ids
    context = _tail(tokenizer, given.context)
    tokens = _tokens(tokenizer, given.text)
    room = tokens_max - len(prefix) - 2 - (len(context) + 2 if context else 0)
    ends = [*context, EOS] if context else []
    starts = range(0, max(1, len(tokens.ids)), room)
    return [
        Window(
            ids=np.array(
                [BOS, *prefix, *tokens.ids[start : start + room], EOS, *([EOS, *ends] if ends else [])], np.int64
            ),
            places=tokens.places[start : start + room],
            first=1 + len(prefix),
        )
        for start in starts
    ]


def marked_windows(windows: Sequence[Window], marked: Sequence[tuple[int, int]]) -> list[int]:
    """Return the places of the windows that have a part of a marked stretch, ascending."""
    found: list[int] = []
    for place, window in enumerate(windows):
        low, high = (window.places[0][0], window.places[-1][1]) if window.places else (0, 0)
        if any(start < high and end > low for start, end in marked):
            found.append(place)
    return found


def reading_order(count: int, marked: Sequence[int]) -> list[int]:
    """Return the places of `count` windows in the order in which they are read: first, last, marked, then the rest."""
    return list(dict.fromkeys((0, count - 1, *marked, *range(count))))


class _Tokens(NamedTuple):
    ids: list[int]
    places: list[tuple[int, int]]


def _tokens(tokenizer: Tokenizer, text: str) -> _Tokens:
    """Return the tokens of a text, which is tokenized in pieces that end before a space where there is one."""
    tokens = _Tokens([], [])
    text = _calm(text)
    start = 0
    while start < len(text):  # each piece has a character at least
        end = start + PIECE_CHARACTERS
        if end < len(text):
            end = max(text.rfind(" ", start + PIECE_CHARACTERS // 2, end), 0) or end
        encoding = tokenizer.encode(text[start:end], add_special_tokens=False)
        count = _without_end_spaces(encoding.tokens)
        tokens.ids.extend(encoding.ids[:count])
        tokens.places.extend([(start + low, start + high) for low, high in encoding.offsets[:count]])
        start = end
    return tokens


def _calm(text: str) -> str:
    """Return a text that is all in capitals in small letters, which the encoder knows far better, else as it is."""
    if len(text) < SHOUTED_CHARACTERS_MIN or not text.isupper():
        return text
    small = text.lower()
    return small if len(small) == len(text) else text  # places are characters of the text


def _without_end_spaces(tokens: Sequence[str]) -> int:
    """Return how many tokens there are before the spaces at the end, which no text of the training had.

    A single one there turns a cry for help into small talk for the encoder.
    """
    count = len(tokens)
    while count and tokens[count - 1] == SPACE:
        count -= 1
    return count


def padded(windows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and mask of a batch, each (windows, longest window)."""
    longest = max(len(each) for each in windows)
    ids = np.full((len(windows), longest), PAD, np.int64)
    mask = np.zeros((len(windows), longest), np.int64)
    for row, each in enumerate(windows):
        ids[row, : len(each)], mask[row, : len(each)] = each, 1
    return ids, mask


def _tail(tokenizer: Tokenizer, context: str) -> list[int]:
    if not context:
        return []
    encoding = tokenizer.encode(context[-PIECE_CHARACTERS:], add_special_tokens=False)
    ids: list[int] = encoding.ids[: _without_end_spaces(encoding.tokens)]
    return ids[-CONTEXT_TOKENS:]


def given_request(turns: Sequence[tuple[str, str]]) -> Given:
    """Return the request that a conversation ends with; `turns` are the role and text of its messages."""
    last = max((at for at, (role, _) in enumerate(turns) if role == "assistant"), default=-1)
    asked = PARAGRAPH.join(text for role, text in turns[last + 1 :] if role == "user")
    return Given(kind=Kind.REQUEST, text=asked, context=_context(turns[: last + 1]))


def given_reply(turns: Sequence[tuple[str, str]], reply: str) -> Given:
    """Return a reply with the request that it answers."""
    return Given(kind=Kind.REPLY, text=reply, context=given_request(turns).text)


def is_sparse(request: Given) -> bool:
    """Return whether a request stands alone and has few words. A character of a script without spaces counts thrice."""
    length = sum(3 if letter > "\u2e7f" else 1 for letter in request.text[: SPARSE_CHARACTERS_MAX + 1])
    return not request.context and length <= SPARSE_CHARACTERS_MAX


def _context(turns: Sequence[tuple[str, str]]) -> str:
    """Return what a request stands in: the end of the last user turn and of the answer to it, oldest first."""
    last = dict(turns)
    return "\n".join(last[role][-CONTEXT_CHARACTERS:] for role in ("user", "assistant") if role in last)
