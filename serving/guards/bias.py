"""The bias stage: it finds drafts that speak of a group as if all of its members were alike.

It reads one draft at a time, so it cannot find unequal treatment that shows only between two answers.
"""

import functools
from collections.abc import Sequence

from serving.guards.linear import LinearModel
from serving.text.features import fold
from serving.text.lexicon import Lexicon, words_of
from topology.contract.drafts import CheckReport
from topology.contract.names import StageName
from topology.ports import CheckInput

UNFAIR_MIN = 0.9
"""Lowest stereotype probability at which a draft that names a group counts as unfair."""
RULES_VERSION = "1"
GROUPS: dict[str, tuple[str, ...]] = {
    axis: tuple(group.strip() for group in groups.split(","))
    for axis, groups in {
        "gender": (
            "woman, women, man, men, girl, boy, female, females, male, males, lady, ladies, mother, mothers, "
            "fathers, wives, husbands, transgender, trans, nonbinary, trans women, trans men, housewives, "
            "feminist"
        ),
        "race": (
            "black people, blacks, black men, black women, black person, white people, white men, "
            "white women, white person, asian, asian people, latino, latina, latinos, hispanic, "
            "native american, indigenous, aboriginal, african american, roma, person of color, "
            "people of color, people of colour, african, africans"
        ),
        "religion": (
            "muslim, jew, jewish, jewish people, christian, catholic, protestant, hindu, buddhist, sikh, "
            "atheist, mormon, islamic, islam, judaism"
        ),
        "orientation": "gay, gays, lesbian, bisexual, homosexual, queer, straight people, lgbt, lgbtq, same sex couple",
        "nationality": (
            "mexican, chinese, indian, pakistani, nigerian, polish, russian, american, german, french, "
            "italian, arab, turk, turkish, syrian, iranian, immigrant, migrant, refugee, foreigner, japanese, "
            "korean, vietnamese, irish, british"
        ),
        "disability": (
            "disabled, disability, deaf, blind, autistic, wheelchair user, mentally ill, schizophrenic, "
            "people with down syndrome"
        ),
        "age": (
            "elderly, old people, older people, senior citizen, teenager, millennial, boomer, young people, pensioner"
        ),
        "class": (
            "poor people, rich people, homeless, working class, welfare recipient, the poor, the rich, wealthy people"
        ),
        "appearance": "fat people, obese, overweight people, short men, tall women, ugly people",
    }.items()
}
"""Neutral names of groups of people, by axis of identity; no slurs, which name nobody fairly."""

_HEAD = "stereotype"


class BiasStage:
    """A stage that scores drafts in batches. Plain, synchronous, deterministic."""

    def __init__(self, model: LinearModel) -> None:
        if _HEAD not in model:
            raise ValueError(f"the model has no head {_HEAD}")
        self._model = model

    @property
    def name(self) -> str:
        """Return `bias`."""
        return StageName.BIAS.value

    @property
    def version(self) -> str:
        """Return the weights' digest and the rules' version."""
        return f"{self._model.version}+rules-{RULES_VERSION}"

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """Return one report per draft, in order. Raises WindowError if a draft is too long to be read as a whole.

        `scores` holds the stereotype probability and, per axis of identity, the number of mentions of groups.
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


def groups_in(folded: str) -> dict[str, int]:
    """Return how many mentions of groups there are, by axis of identity; empty if no group is named."""
    return {axis: len(positions) for axis, positions in _lexicon().find(words_of(folded)).items()}


@functools.cache
def _lexicon() -> Lexicon:
    return Lexicon(GROUPS)
