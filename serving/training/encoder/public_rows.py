"""Public labelled rows as examples: what their labels mean for the encoder's heads.

The same sources as the linear model's, whose licences permit redistribution (serving/training/corpus.py).
"""

from collections.abc import Iterator
from pathlib import Path

from serving.evaluation.examples import Example, Targets
from serving.guards.encoder.heads import CATEGORIES, Kind
from serving.guards.encoder.texts import Given
from serving.training.corpus import HARM, JAILBREAK, SOURCES, STEREOTYPE, rows_of
from serving.training.corpus import Row as PublicRow

ROWS_PER_SOURCE = 600
ROWS_OF = {"toxigen_human": 3000, "redditbias": 3000}
"""More rows of the sources that say which sentences about people are unfair, since our own rows have few of those."""
WEIGHT = 0.5
_TEXT_CATEGORIES = {"hateful_text": "hate", "harassing_text": "harassment"}


def public_examples(folder: Path) -> list[Example]:
    """Return at most `ROWS_PER_SOURCE` examples of each source, or as `ROWS_OF` says, spread over it."""
    examples: list[Example] = []
    for source in SOURCES:
        found = [example for row in rows_of(source, folder) for example in _of(source.name, row)]
        rows = ROWS_OF.get(source.name, ROWS_PER_SOURCE)
        examples.extend(found[:: max(1, -(-len(found) // rows))])
    return examples


def _of(source: str, row: PublicRow) -> Iterator[Example]:
    targets = Targets()
    labels = row.labels
    if labels.get(STEREOTYPE) is not None:
        targets.say("unfair", is_so=bool(labels[STEREOTYPE]))
        yield Example(source=source, given=Given(kind=Kind.REPLY, text=row.text), targets=targets.values, weight=WEIGHT)
        return
    if labels.get(HARM) is not None:
        targets.say("harmful", is_so=bool(labels[HARM]))
        if not labels[HARM]:
            targets.have("category", ())
    if labels.get(JAILBREAK) is not None:
        targets.say_of("signal", "jailbreak_roleplay", is_so=bool(labels[JAILBREAK]))
    for head, value in labels.items():
        category = _TEXT_CATEGORIES.get(head, head)
        if category in CATEGORIES and (value or head not in _TEXT_CATEGORIES):
            targets.say_of("category", category, is_so=bool(value))
    if (targets.values >= 0).any():
        yield Example(
            source=source, given=Given(kind=Kind.REQUEST, text=row.text), targets=targets.values, weight=WEIGHT
        )
