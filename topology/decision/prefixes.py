"""The judgement of an answer's beginning: which rows of the verdict table ask about it, and which about a whole answer.

A row that a prefix can break holds text back: a guard that could not tell, detail above a ceiling, a leak, unfairness.
What a whole answer owes, and its manner, can still be mended by what follows: those rows never hold text.
"""

from msgspec import structs

from topology.contract.labels import Declines, Extent, OutputLabels, Plan
from topology.policy.bundle import Aspect

EXTENTS = {
    Aspect.GUARD: Extent.PREFIX,
    Aspect.FINDING: Extent.PREFIX,
    Aspect.LEAK: Extent.PREFIX,
    Aspect.UNFAIR: Extent.PREFIX,
    Aspect.OBLIGATION: Extent.WHOLE,
    Aspect.REFUSAL: Extent.WHOLE,
    Aspect.DECLINING: Extent.WHOLE,
    Aspect.SOFT: Extent.WHOLE,
}
"""What the rows of each aspect judge: a prefix too, or only a whole answer."""


def labels_for(extent: Extent, out: OutputLabels, plan: Plan) -> OutputLabels:
    """Return the labels that count for `extent`: of a prefix, nothing that only rows on whole answers ask about."""
    if extent is Extent.WHOLE:
        return out
    return structs.replace(
        out,
        is_bare_refusal=False,
        declines=Declines.NONE,
        obligations_present=plan.must_include,
        soft_violations=(),
    )
