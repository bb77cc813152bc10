"""The policy's own phrases, which need no judgement: they were judged when the policy was written."""

from serving.text.features import fold
from topology.policy.bundle import PolicyBundle

REMAINDER_LETTERS_MIN = 30
"""Number of other letters below which a draft says nothing of its own, such as `I can offer ... or ...`."""
PHRASE_CHARACTERS_MIN = 8
"""Length below which a piece is not removed: it could be part of other words."""
_OFFERS = "{offers}"


class OwnWords:
    """A bundle's templates and offers, in every language and for every region, to be taken out of texts."""

    def __init__(self, bundle: PolicyBundle) -> None:
        self._phrases = sorted(_phrases(bundle), key=lambda phrase: (-len(phrase), phrase))

    def without(self, folded: str) -> str:
        """Return the folded text without the policy's phrases; empty if only joining words remain."""
        rest = folded
        for phrase in self._phrases:
            rest = rest.replace(phrase, " ")
        if rest == folded:
            return folded
        return rest if sum(letter.isalnum() for letter in rest) >= REMAINDER_LETTERS_MIN else ""


def _phrases(bundle: PolicyBundle) -> set[str]:
    found = {fold(phrase) for offer in bundle.offers.values() for phrase in offer.values()}
    for words in bundle.templates.values():
        for name, phrase in words.items():
            if name == "offer_or":
                continue
            for piece in phrase.split(_OFFERS):
                found.update(fold(filled).strip() for filled in _filled(piece, bundle))
    return {phrase for phrase in found if len(phrase) >= PHRASE_CHARACTERS_MIN}


def _filled(phrase: str, bundle: PolicyBundle) -> list[str]:
    if "{" not in phrase:
        return [phrase]
    lines = [line for line in bundle.help_lines.values() if line.number or "{number}" not in phrase]
    return [phrase.format(line=line.name, number=line.number, emergency=line.emergency) for line in lines]
