"""Reasoning that a model writes into its answer, cut out of it: it is neither published nor judged as the answer.

A server that is told which model it runs (vLLM's `--reasoning-parser`) puts reasoning into a field of its own, which is
never read. Without that it stands in the text: between marks, in front of a closing mark alone where the model's chat
template wrote the opening one, or behind an opening mark alone where the answer was cut off before its end.
"""

import re

_NAME = r"(?:[a-z]+:)?(?:think|thinking|thought|thoughts|reasoning)"
"""As in `<think>` (DeepSeek, Qwen and most others), `<seed:think>` (ByteDance) and `<mm:think>` (MiniMax)."""
_MARK = re.compile(
    rf"<(/?)\s*{_NAME}\s*>|(?-i:\[(/?)THINK\])|◁(/?)think▷|<\|(?:(end)|start|begin)_(?:of_)?(?:thought|thinking)\|>|"
    r"(?:<\|end\|>\s*)?(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*(?:(final)|[a-z])[^|]{0,200}"
    r"(?:<\|constrain\|>[^|]{0,80})?<\|message\|>",
    re.IGNORECASE,
)
"""Angle brackets; `[THINK]` is Mistral's, `◁think▷` Kimi's, `<|START_THINKING|>` Cohere's; channels are gpt-oss's."""

_BARE_CHANNEL = re.compile(r"\A\s*analysis(?=[A-Z]).*?(?:assistantfinal|\Z)", re.DOTALL)
"""Reasoning of gpt-oss where the server has left out the marks of its channels, and run their names into the text."""

_BEGUN = re.compile(r"(?:<[^<>]{0,40}|\[[^\[\]]{0,8}|◁[^◁▷]{0,8})\Z")
"""What may be the beginning of a mark, at the end of the text so far."""


def without_reasoning(text: str) -> str:
    """Return `text` without what stands between marks of reasoning; empty if nothing else is there.

    A closing mark without an opening one ends reasoning that the text began with: all that stands before it goes.
    """
    text = _BARE_CHANNEL.sub("", text)
    kept: list[str] = []
    at, is_inside, is_cut = 0, False, False
    for mark in _MARK.finditer(text):
        is_cut = True
        if not is_inside:
            kept.append(text[at : mark.start()])
        is_closing = any(mark.groups())
        if is_closing and not is_inside:
            kept.clear()
        is_inside, at = not is_closing, mark.end()
    if not is_cut:
        return text
    if not is_inside:
        kept.append(text[at:])
    return "".join(kept).lstrip()


class ReasoningCutter:
    """Cuts reasoning out of a text while it arrives; what it has passed on is never taken back.

    Reasoning that ends with a mark but begins without one cannot be told from an answer before it ends, so a server
    whose chat template writes the opening mark must have a reasoning parser of its own.
    """

    def __init__(self) -> None:
        self._waiting = ""
        self._is_inside = False
        self._has_text = False
        self._is_cut = False

    def feed(self, piece: str) -> str:
        """Return the text that `piece` completes. Raises ValueError if what was passed on turns out to be reasoning."""
        text = self._waiting + piece
        begun = _BEGUN.search(text)
        whole, self._waiting = (text[: begun.start()], text[begun.start() :]) if begun else (text, "")
        return self._outside(whole)

    def end(self) -> str:
        """Return what is left once the text has ended. Raises as `feed` does."""
        whole, self._waiting = self._waiting, ""
        return self._outside(whole)

    def _outside(self, text: str) -> str:
        kept: list[str] = []
        at = 0
        for mark in _MARK.finditer(text):
            if not self._is_inside:
                kept.append(text[at : mark.start()])
            is_closing = any(mark.groups())
            if is_closing and not self._is_inside:
                if self._has_text:
                    raise ValueError("reasoning without a mark at its beginning")
                kept.clear()
            self._is_cut, self._is_inside, at = True, not is_closing, mark.end()
        if not self._is_inside:
            kept.append(text[at:])
        return self._without_margin("".join(kept))

    def _without_margin(self, text: str) -> str:
        """Return the text without the white space that follows reasoning at the beginning of an answer."""
        if self._is_cut and not self._has_text:
            text = text.lstrip()
        self._has_text = self._has_text or bool(text)
        return text
