"""Which rows of the verdict table a prefix can break."""

import pytest

from topology.contract.labels import Declines, Extent, Mode, OutputLabels, Plan
from topology.decision.prefixes import EXTENTS, labels_for
from topology.policy.bundle import Aspect
from topology.policy.loading import packaged_bundle

PLAN = Plan(mode=Mode.DIRECT_ANSWER, ceilings={}, must_include=("crisis_line",))
OF_A_WHOLE_ANSWER = ("V10", "V12", "V13")


def test_every_row_judges_a_prefix_or_only_a_whole_answer() -> None:
    assert set(EXTENTS) == set(Aspect)
    for row in packaged_bundle().rules:
        expected = Extent.WHOLE if row.id[:3] in OF_A_WHOLE_ANSWER else Extent.PREFIX
        assert EXTENTS[row.aspect] is expected, row.id


@pytest.mark.parametrize("extent", Extent)
def test_of_a_prefix_nothing_counts_that_only_a_whole_answer_owes(extent: Extent) -> None:
    out = OutputLabels(is_bare_refusal=True, declines=Declines.PARTLY, soft_violations=("style",), unfair=True)
    left = labels_for(extent, out, PLAN)
    assert left.unfair
    if extent is Extent.WHOLE:
        assert left is out
    else:
        assert left == OutputLabels(unfair=True, obligations_present=("crisis_line",))
