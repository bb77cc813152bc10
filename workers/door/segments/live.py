"""One client's stream while its answer is made: deltas, a comment from time to time, and the end.

Text that contradicts what was sent is never sent: the end says so. A client that does not read is not waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

COMMENT_S: Final = 10.0
COMMENT: Final = b": still there\n\n"
BEHIND_BYTES_MAX: Final = 256 * 1024
BEHIND_S: Final = 30.0

Write = Callable[[bytes], Awaitable[None]]


class TooFarBehind(Exception):
    """The client did not read for too long, or too much waits for it."""


class Live:
    """The text that is to be sent to one client. `add` is called on the loop; `sent` is what has been handed to it.

    A comment is sent after `comment_s` without text; a write may take `behind_s`.
    """

    def __init__(self, comment_s: float = COMMENT_S, behind_s: float = BEHIND_S) -> None:
        self._comment_s = comment_s
        self._behind_s = behind_s
        self.audit_id = ""
        """The id of the answer that is streamed; empty until its record stands on its topic."""
        self.sent = ""
        self._waiting = ""
        self._waiting_bytes = 0
        self._changed = asyncio.Event()
        self._is_broken = False

    @property
    def has_begun(self) -> bool:
        """Return whether there ever was text."""
        return bool(self.sent or self._waiting)

    def begin(self, audit_id: str, text: str) -> None:
        """Begin with what is shown of an answer by now. Of a second answer nothing is added to the first one's text."""
        if self.has_begun:
            self._is_broken = True
        else:
            self.audit_id = audit_id
            self.add(text)

    def add(self, text: str) -> None:
        """Add text that is shown."""
        if text and not self._is_broken:
            self._waiting += text
            self._waiting_bytes += len(text.encode("utf-8", "replace"))
            self._changed.set()

    def rest_of(self, whole: str) -> str | None:
        """Return what a whole answer adds to all that was shown; None if it contradicts that."""
        shown = self.sent + self._waiting
        return whole[len(shown) :] if not self._is_broken and whole.startswith(shown) else None

    async def until_text(self, answer: "asyncio.Future[Any]") -> None:
        """Wait until there is text, or the answer is there."""
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({changed, answer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()

    async def send(self, answer: "asyncio.Future[Any]", delta: Callable[[str], bytes], write: Write) -> None:
        """Send text as it comes, until the answer is there. Raises TooFarBehind."""
        while True:
            if self._waiting_bytes > BEHIND_BYTES_MAX:
                raise TooFarBehind
            if self._waiting:
                text, self._waiting, self._waiting_bytes = self._waiting, "", 0
                self._changed.clear()
                self.sent += text
                await self.write(write, delta(text))
            elif answer.done():
                return
            else:
                try:
                    async with asyncio.timeout(self._comment_s):
                        await self.until_text(answer)
                except TimeoutError:
                    await self.write(write, COMMENT)

    async def write(self, write: Write, data: bytes) -> None:
        """Write, for a bounded time. Raises TooFarBehind."""
        try:
            async with asyncio.timeout(self._behind_s):
                await write(data)
        except TimeoutError:
            raise TooFarBehind from None
