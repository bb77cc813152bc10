"""A check in two lanes: ordinary drafts in micro-batches, and long ones, one at a time, beside them.

A long draft takes seconds. In the micro-batches of ordinary drafts it would hold up every other one of its batch.
"""

from typing import Any

from serving.guards.encoded import is_long
from topology.contract.drafts import CheckReport
from topology.ports import CheckInput
from workers.stages.batching import BatchedCheck


class LanedCheck:
    """The Check port over two lanes of one stage, each with threads or actors and a bounded queue of its own."""

    def __init__(self, ordinary: BatchedCheck[Any], long: BatchedCheck[Any]) -> None:
        self._ordinary = ordinary
        self._long = long

    @property
    def name(self) -> str:
        """Return the stage's name."""
        return self._ordinary.name

    @property
    def version(self) -> str:
        """Return the stage's version."""
        return self._ordinary.version

    async def check(self, given: CheckInput) -> CheckReport:
        """Return the stage's report. Raises what the lane raises."""
        lane = self._long if is_long(given.event, len(given.draft.text)) else self._ordinary
        return await lane.check(given)

    async def close(self) -> None:
        """Cancel all checks that wait or run, and close both lanes."""
        await self._ordinary.close()
        await self._long.close()
