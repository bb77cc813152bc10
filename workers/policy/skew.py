"""Notices when workers stay under different policies: one of them cannot read, or refuses, what the others took up."""

import logging
from collections.abc import Callable, Mapping

logger = logging.getLogger("sluicegate.policy")

LOOKS_MAX = 3
"""Looks at their source within which all workers of one process have taken a policy up, as a rule."""


class PolicySkew:
    """Says once, when it has lasted for `LOOKS_MAX` times `interval_s`, who is under which policy, and once when it is
    over.
    """

    def __init__(self, interval_s: float, monotonic_s: Callable[[], float]) -> None:
        self._bound_s = LOOKS_MAX * interval_s
        self._now_s = monotonic_s
        self._since_s: float | None = None
        self._is_told = False

    def note(self, refs: Mapping[str, str]) -> None:
        """The policy of each worker that runs, by the worker's name."""
        if len(set(refs.values())) < 2:
            if self._is_told:
                logger.info("workers are under one policy again", extra={"policies": dict(refs)})
            self._since_s, self._is_told = None, False
            return
        if self._since_s is None:
            self._since_s = self._now_s()
        if not self._is_told and self._now_s() - self._since_s >= self._bound_s:
            self._is_told = True
            logger.warning("workers are under different policies", extra={"policies": dict(refs)})
