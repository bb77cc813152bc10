"""What commands print for people: colours on a terminal only, one line a thing, nothing read as markup."""

import select
import sys
from typing import Literal

from rich.console import Console
from rich.text import Text

_JOINERS = frozenset("\u200c\u200d")
"""Invisible, and part of how Persian, Hindi and some emoji are written."""


class Terminal(Console):
    """Standard output or error. A reader that went away ends the command by BrokenPipeError, as a plain print would."""

    def __init__(self, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        super().__init__(file=getattr(sys, stream), highlight=False, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Called by rich while it handles the BrokenPipeError; its own version would end the process with 1."""
        raise  # noqa: PLE0704 - passes on the error that rich is handling

    def require_reader(self) -> None:
        """Raises BrokenPipeError where nobody reads any more: for a command that may not write again for hours."""
        poll = select.poll()
        poll.register(self.file.fileno(), 0)  # POLLERR is always told
        if any(found & select.POLLERR for _, found in poll.poll(0)):
            raise BrokenPipeError

    def say(self, text: Text | str, style: str = "") -> None:
        """Print one line, never broken in two: other programs may read it."""
        self.print(text if isinstance(text, Text) else Text(text, style=style), soft_wrap=True)


def printable(text: str, characters_max: int) -> str:
    """`text` on one line, at most `characters_max` long, without what could steer a terminal."""
    words = " ".join(text.split())
    safe = "".join(c if c.isprintable() or c in _JOINERS else "\N{REPLACEMENT CHARACTER}" for c in words)
    return safe if len(safe) <= characters_max else safe[: characters_max - 1] + "…"
