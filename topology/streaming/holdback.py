# ruff: noqa: RUF001 - marks of many scripts
"""Hold-back: which text of an answer may leave while the model still writes it. Pure.

    arrived:  |<------- shown ------->|<---- held: judged, or not yet ---->|<-- in no segment yet -->
    judged:        |<----------- a window: `context`, then all that is held ------------>|

A window is judged as a whole; what passed may leave, but for what may still change its meaning: an opening that may
turn out to be a bare refusal, a number or a recogniser's match that may go on. What was shown is never taken back.

A window begins at most `context_characters` before the text that is held, so that judging costs time in proportion to
the answer's length. Whenever the answer has doubled since it was last judged from its beginning, a window holds all of
it: all of these together are at most twice the answer. At its end it is judged as a whole once more.
"""

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

from topology.contract.labels import Span
from topology.streaming.segments import Segment

NUMBER_CHARACTERS_MAX = 64
"""The longest number that is held for what may follow it; the longest one that a recogniser knows has 42 characters."""

_TOKEN = re.compile(r"\S+")
_DIGIT = re.compile(r"\d")
_SEPARATORS = re.compile(r"[-–—/().,:+*#]+")


class HoldBounds(Struct, frozen=True, kw_only=True):
    """The bounds of hold-back. An opening is over once it has so many sentences, or so many characters."""

    opening_sentences: int = 2
    opening_characters: int = 200
    context_characters: int = 2000


class Window(Struct, frozen=True, kw_only=True):
    """A text to be judged; its part from `held_from` on has not left.

    `is_whole`: it begins where the answer begins. `is_end`: the answer ends with it. `is_cut`: a word or a number may
    go on after it. `segment_count` segments had arrived, and no bound had cut `sentence_count` of them.
    """

    text: str
    held_from: int
    segment_count: int
    sentence_count: int
    is_whole: bool
    is_end: bool
    is_cut: bool


class HoldBack:
    """What of one answer has left, and what is held. `shown` is the text that readers have already.

    Use: `take` segments as they arrive, judge `window()`, and say what came of it by `passed` or `redacted`. `passed`
    returns the text that may leave now, which the caller releases. One window is judged at a time.
    """

    def __init__(self, bounds: HoldBounds, shown: str = "") -> None:
        self._bounds = bounds
        self._shown = shown
        self._held = ""
        self._segment_count = self._sentence_count = 0
        self._is_unjudged = False
        self._is_cut = False
        self._is_ended = False
        self._is_opening = not shown
        self._whole_length = len(shown)
        """The answer's length when it was last judged from its beginning."""

    @property
    def shown(self) -> str:
        """Return all text that has left."""
        return self._shown

    @property
    def held(self) -> str:
        """Return the text that has arrived and not left."""
        return self._held

    @property
    def text(self) -> str:
        """Return the answer so far: what has left, and what is held."""
        return self._shown + self._held

    @property
    def is_unjudged(self) -> bool:
        """Return whether something has to be judged before more can leave."""
        return self._is_unjudged

    def take(self, segments: Iterable[Segment], *, is_end: bool = False) -> None:
        """Take the next segments; `is_end`: the answer ends with them."""
        for segment in segments:
            self._held += segment.text
            self._segment_count += 1
            self._sentence_count += not segment.is_cut
            self._is_unjudged, self._is_cut = True, segment.is_cut
        if is_end:
            self._is_ended, self._is_unjudged = True, True

    def window(self) -> Window:
        """Return what is to be judged next: everything that is held, with what stands before it.

        The window at the end holds the whole answer.
        """
        length = len(self.text)
        is_whole = (
            self._is_ended or len(self._shown) <= self._bounds.context_characters or length >= 2 * self._whole_length
        )
        context = self._shown if is_whole else self._shown[-self._bounds.context_characters :]
        return Window(
            text=context + self._held,
            held_from=len(context),
            segment_count=self._segment_count,
            sentence_count=self._sentence_count,
            is_whole=is_whole,
            is_end=self._is_ended,
            is_cut=self._is_cut,
        )

    def redacted(self, window: Window, text: str) -> Window:
        """Replace what was held in `window` by the end of `text`; return the window of that, to be judged again.

        Raises ValueError if text that has left would be changed.
        """
        if text[: window.held_from] != window.text[: window.held_from]:
            raise ValueError("text that has left was changed")
        later = self._held[len(window.text) - window.held_from :]
        self._held = text[window.held_from :] + later
        return structs.replace(window, text=text)

    def passed(self, window: Window, *, spans: Sequence[Span] = (), is_bare_refusal: bool = False) -> str:
        """Take back `window`, which may leave; return what leaves now, which counts as shown from here on.

        `spans` are the matches of recognisers in the window. Text that arrived after the window was made stays held.
        """
        self._is_unjudged = self._segment_count > window.segment_count or self._is_ended is not window.is_end
        if window.is_whole:
            self._whole_length = len(window.text)
        length = len(window.text)
        if not window.is_end:
            length = self._free_length(window, spans)
            is_free = length == len(window.text) and not is_bare_refusal
            length = length if self._may_begin(window, is_free) else 0
        leaving_count = max(0, length - window.held_from)
        leaving, self._held = self._held[:leaving_count], self._held[leaving_count:]
        self._shown += leaving
        return leaving

    def _may_begin(self, window: Window, is_free: bool) -> bool:
        """Return whether the opening is over: there is enough of it, all of it may leave, and it is no bare refusal.

        Half a sentence hides a refusal, so one that a bound has cut must be twice as long.
        """
        if self._is_opening:
            is_long = len(window.text) >= self._bounds.opening_characters * (2 if window.is_cut else 1)
            is_enough = is_long or (not window.is_cut and window.sentence_count >= self._bounds.opening_sentences)
            self._is_opening = not (is_free and is_enough)
        return not self._is_opening

    def _free_length(self, window: Window, spans: Sequence[Span]) -> int:
        """Return how much of a window stands before anything that touches its end and may go on."""
        length = touching_from(window.text, spans)
        return min(length, number_start(window.text)) if window.is_cut else length


def shortened(window: Window, length: int) -> Window:
    """Return the first `length` characters of a window, which end as if a bound had cut them."""
    return structs.replace(window, text=window.text[: max(length, window.held_from)], is_cut=True, is_end=False)


def touching_from(text: str, spans: Sequence[Span]) -> int:
    """Return where the first of the `spans` begins that touches the end of `text`; its length if none does."""
    end = len(text.rstrip())
    return min([span.start for span in spans if span.end >= end], default=len(text))


def number_start(text: str) -> int:
    """Return where the number begins that touches the end of `text`; its length if none does.

    A number may be made of several groups of digits; a line's end ends it.
    """
    base = max(text.rfind("\n") + 1, len(text) - NUMBER_CHARACTERS_MAX)
    start = len(text)
    for token in reversed(list(_TOKEN.finditer(text, base))):
        if _DIGIT.search(token.group()):
            start = token.start()
        elif not _SEPARATORS.fullmatch(token.group()):
            break
    return start
