"""The cheap look at a long text: the stretches that phrases, terms and decoders mark, which the encoder reads first."""

from serving.guards.markers import RISK_TAGS
from serving.text.features import fold
from serving.text.lexicon import PHRASE_PREFIX, hits_in, topics
from serving.text.wrappers import encoded_spans
from topology.contract.measures.intervals import joined

LONG_CHARACTERS = 4_000
"""The length above which a text is looked through, and read in a lane of its own."""
STRETCH_CHARACTERS = 600
OVERLAP_CHARACTERS = 80
"""Long enough for most phrases, so that none is cut in two."""

_TAGS = RISK_TAGS | {PHRASE_PREFIX + tag for tag in ("malicious", "override", "unbound", "order")}


def marked(text: str) -> tuple[tuple[int, int], ...]:
    """Return the marked stretches of a long text in characters, ascending and disjoint; none of one that is not long.

    A stretch is marked by words of risk or ill purpose, by an order to the assistant, by a subject of the policy, and
    by text that is encoded in it.
    """
    if len(text) <= LONG_CHARACTERS:
        return ()
    starts = range(0, len(text), STRETCH_CHARACTERS)
    stretches = [(start, min(len(text), start + STRETCH_CHARACTERS + OVERLAP_CHARACTERS)) for start in starts]
    found = [(start, end) for start, end in stretches if _is_marked(text[start:end])]
    return tuple(joined([*found, *encoded_spans(text)]))


def _is_marked(stretch: str) -> bool:
    hits = hits_in(fold(stretch))
    return not _TAGS.isdisjoint(hits) or bool(topics(hits))
