"""The Clock port on the machine's own time, and the waits between attempts."""

import asyncio
import time

DOUBLINGS_MAX = 30
"""2**1024 overflows a float, and after hours there are thousands of failures."""


class SystemClock:
    """The wall clock, the monotonic clock and the running loop's sleep."""

    monotonic_s = staticmethod(time.monotonic)
    """Seconds on the clock that asyncio's own loops use."""

    def now_ms(self) -> int:
        """Return Unix epoch milliseconds."""
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        await asyncio.sleep(seconds)


def backoff_s(first_s: float, doublings: int, longest_s: float) -> float:
    """Return a wait: `first_s`, doubled `doublings` times, but at most `longest_s`."""
    return min(longest_s, first_s * 2 ** min(doublings, DOUBLINGS_MAX))
