# ruff: noqa: E501
"""Neutral names of groups of people, by axis of identity. Written for this project; no slurs, which name nobody fairly."""

import functools

from serving.text.lexicon import Lexicon, words_of

GROUPS: dict[str, tuple[str, ...]] = {
    axis: tuple(phrase.strip() for phrase in text.split(","))
    for axis, text in {
        "gender": "woman, women, man, men, girl, boy, female, females, male, males, lady, ladies, mother, mothers, fathers, wives,"
        "husbands, transgender, trans, nonbinary, trans women, trans men, housewives, feminist",
        "race": "black people, blacks, black men, black women, black person, white people, white men, white women, white person,"
        "asian, asian people, latino, latina, latinos, hispanic, native american, indigenous, aboriginal, african american, roma,"
        "person of color, people of color, people of colour, african, africans",
        "religion": "muslim, jew, jewish, jewish people, christian, catholic, protestant, hindu, buddhist, sikh, atheist, mormon,"
        "islamic, islam, judaism",
        "orientation": "gay, gays, lesbian, bisexual, homosexual, queer, straight people, lgbt, lgbtq, same sex couple",
        "nationality": "mexican, chinese, indian, pakistani, nigerian, polish, russian, american, german, french, italian, arab,"
        "turk, turkish, syrian, iranian, immigrant, migrant, refugee, foreigner, japanese, korean, vietnamese, irish, british",
        "disability": "disabled, disability, deaf, blind, autistic, wheelchair user, mentally ill, schizophrenic, people with down syndrome",
        "age": "elderly, old people, older people, senior citizen, teenager, millennial, boomer, young people, pensioner",
        "class": "poor people, rich people, homeless, working class, welfare recipient, the poor, the rich, wealthy people",
        "appearance": "fat people, obese, overweight people, short men, tall women, ugly people",
    }.items()
}


@functools.cache
def _lexicon() -> Lexicon:
    return Lexicon(GROUPS)


def groups_in(folded: str) -> dict[str, int]:
    """How many mentions of a group there are, per axis; empty where no group is named."""
    return {axis: len(positions) for axis, positions in _lexicon().find(words_of(folded)).items()}
