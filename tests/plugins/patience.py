"""How tests wait: for a condition, with a bound that only ends a run that hangs.

No test depends on the machine's speed. So a wait goes on for minutes where two others want the same cores, and a test
that is not about a limit of the worker's runs under limits that a busy machine keeps to.
"""

import time
from collections.abc import Callable
from typing import Final

from workers.settings import LimitSettings, StageSettings, StagesSettings

PATIENCE_S: Final = 300.0
"""Bound of a wait for what comes within seconds on a quiet machine; below pytest's own limit."""

CHECK_S: Final = 60.0
"""For assessing a request, for a stage's batch and for all checks of a draft."""

LIMITS: Final = LimitSettings(deadline_default_s=600, assess_timeout_s=CHECK_S, checks_timeout_s=CHECK_S)
STAGE: Final = StageSettings(timeout_s=CHECK_S)
STAGES: Final = StagesSettings(classification=STAGE, bias=STAGE, logging=STAGE)

ENVIRONMENT: Final = {
    "SLUICEGATE_LIMITS__ASSESS_TIMEOUT_S": str(CHECK_S),
    "SLUICEGATE_LIMITS__CHECKS_TIMEOUT_S": str(CHECK_S),
    "SLUICEGATE_LIMITS__DEADLINE_DEFAULT_S": str(LIMITS.deadline_default_s),
    "SLUICEGATE_STAGES__BIAS__TIMEOUT_S": str(CHECK_S),
    "SLUICEGATE_STAGES__CLASSIFICATION__TIMEOUT_S": str(CHECK_S),
    "SLUICEGATE_STAGES__LOGGING__TIMEOUT_S": str(CHECK_S),
    "SLUICEGATE_RAY__HEALTH_TIMEOUT_S": str(CHECK_S),
    "SLUICEGATE_RAY__START_TIMEOUT_S": str(PATIENCE_S),
}
"""The same for a command that a test starts, whatever its settings file says."""


def wait_until(holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Return once `holds`; fail after `timeout_s`."""
    assert is_soon(holds, timeout_s), f"not within {timeout_s} s"


def is_soon(holds: Callable[[], bool], timeout_s: float) -> bool:
    """Return whether something holds within `timeout_s`: for what may happen, and need not."""
    deadline_s = time.monotonic() + timeout_s
    while not (held := holds()) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return held
