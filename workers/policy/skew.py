"""The detection of policy skew: one worker cannot read, or refuses, the policy that the others apply."""

import logging
from collections.abc import Callable, Mapping

logger = logging.getLogger("sluicegate.policy")

LOOKS_MAX = 3
"""Looks at the source within which all workers of one process usually apply a new policy."""


class PolicySkew:
    """The report of skew: logged once when it has lasted `LOOKS_MAX` times `interval_s`, and once when it is over."""

    def __init__(self, interval_s: float, monotonic_s: Callable[[], float]) -> None:
        self._bound_s = LOOKS_MAX * interval_s
        self._now_s = monotonic_s
        self._since_s: float | None = None
        self._is_told = False

    def note(self, refs: Mapping[str, str]) -> None:
        """Take the policy of each running worker, by the worker's name."""
        if len(set(refs.values())) < 2:
            if self._is_told:
                logger.info("workers apply one policy again", extra={"policies": dict(refs)})
            self._since_s, self._is_told = None, False
            return
        if self._since_s is None:
            self._since_s = self._now_s()
        if not self._is_told and self._now_s() - self._since_s >= self._bound_s:
            self._is_told = True
            logger.warning("workers apply different policies", extra={"policies": dict(refs)})
