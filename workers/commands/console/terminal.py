"""Output for people: colours on a terminal only, one line per item, nothing read as markup."""

import select
import sys
from typing import Literal

from rich.console import Console
from rich.text import Text

_JOINERS = frozenset("\u200c\u200d")
"""Invisible characters that the spelling of Persian, Hindi and some emoji needs."""


class Terminal(Console):
    """Standard output or error. Writing raises BrokenPipeError if the reader has closed the pipe, as `print` does."""

    def __init__(self, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        super().__init__(file=getattr(sys, stream), highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError that rich is handling; rich itself would end the process with status 1."""
        raise  # noqa: PLE0704 - rich calls this inside its own `except`

    def require_reader(self) -> None:
        """Raise BrokenPipeError if the reader has closed the pipe: for a command that may not write again for hours."""
        poll = select.poll()
        poll.register(self.file.fileno(), 0)  # POLLERR is reported without being asked for
        if any(found & select.POLLERR for _, found in poll.poll(0)):
            raise BrokenPipeError

    def say(self, text: Text | str, style: str = "") -> None:
        """Print one line without wrapping it, because other programs may read it."""
        self.print(text if isinstance(text, Text) else Text(text, style=style), soft_wrap=True)


def printable(text: str, characters_max: int) -> str:
    """Return `text` on one line, cut to `characters_max`, without characters that could steer a terminal."""
    words = " ".join(text.split())
    safe = "".join(c if c.isprintable() or c in _JOINERS else "\N{REPLACEMENT CHARACTER}" for c in words)
    return safe if len(safe) <= characters_max else safe[: characters_max - 1] + "…"
