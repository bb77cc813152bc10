"""The Clock port on the machine's own time."""

import asyncio
import time


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
