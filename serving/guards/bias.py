"""The bias stage: does a draft speak of a group as if its members were all alike?

It reads one draft at a time; unequal treatment that shows only between two answers is beyond it.
"""

from collections.abc import Sequence

from serving.guards.groups import groups_in
from serving.guards.linear import LinearModel
from serving.text.features import fold
from topology.contract.drafts import CheckReport
from topology.contract.names import StageName
from topology.ports import CheckInput

UNFAIR_MIN = 0.9
"""Least stereotype probability at which a draft that names a group counts as unfair."""
_HEAD = "stereotype"
RULES_VERSION = "1"


class BiasStage:
    """Scores drafts in batches. Plain, synchronous, deterministic."""

    def __init__(self, model: LinearModel) -> None:
        if _HEAD not in model:
            raise ValueError(f"the model has no head {_HEAD}")
        self._model = model

    @property
    def name(self) -> str:
        """`bias`."""
        return StageName.BIAS.value

    @property
    def version(self) -> str:
        """The weights' digest, the rules' version."""
        return f"{self._model.version}+rules-{RULES_VERSION}"

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """One report per draft, in order. Raises WindowError where a draft is too long to be looked at whole.

        `scores` holds the stereotype probability and, per axis of identity, how many mentions of groups there are.
        """
        return [self._report(given) for given in batch]

    def _report(self, given: CheckInput) -> CheckReport:
        score = self._model.probabilities(given.draft.text)[_HEAD]
        groups = groups_in(fold(given.draft.text))
        _, high = self._model.thresholds(_HEAD)
        return CheckReport(
            check=self.name,
            version=self.version,
            unfair=bool(groups) and score >= max(high, UNFAIR_MIN),
            scores={_HEAD: score, **{f"group.{axis}": float(count) for axis, count in sorted(groups.items())}},
        )
