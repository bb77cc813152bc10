"""A bound on calls that have no timeout: when it expires, the process ends, because the call's outcome is unknown."""

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from workers.kafka.errors import OutcomeUnknown
from workers.process.exit_codes import ExitCode

logger = logging.getLogger("sluicegate.watchdog")


class Watchdog:
    """A watchdog that ends the process through `exit_process`, which returns in tests only."""

    def __init__(self, exit_process: Callable[[int], object]) -> None:
        self._exit = exit_process

    @contextmanager
    def limit(self, operation: str, seconds: float) -> Generator[None]:
        """Let the block run for at most `seconds`. Raises OutcomeUnknown if it was late and the process still lives."""
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._end(operation, f"no answer within {seconds} s")

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        if expired.is_set():
            raise OutcomeUnknown(operation, f"no answer within {seconds} s")

    def give_up(self, operation: str, reason: str) -> OutcomeUnknown:
        """End the process now. Return the error to raise if the process still lives."""
        self._end(operation, reason)
        return OutcomeUnknown(operation, reason)

    def _end(self, operation: str, reason: str) -> None:
        logger.critical("outcome unknown, ending the process", extra={"operation": operation, "reason": reason})
        self._exit(ExitCode.OUTCOME_UNKNOWN)
