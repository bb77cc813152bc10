"""Names of people and places, by spaCy pipelines: off unless settings name one.

Names have neither pattern nor checksum. A pipeline is a package or a folder that `spacy.load` reads, whatever finds its
entities; spaCy itself comes with presidio-analyzer. Its figures are in docs/redaction.md.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.text.language import language_of
from topology.contract.errors import SettingsError

PERSON, LOCATION = "PERSON", "LOCATION"
SETTING = "redaction.names_models"

_KINDS = {
    **dict.fromkeys(("PERSON", "PER", "NAME", "PERSNAME"), PERSON),
    **dict.fromkeys(("GPE", "LOC", "FAC", "LOCATION", "PLACE", "CITY", "ADDRESS", "PLACENAME"), LOCATION),
}
"""Labels of pipelines, in capitals, and the kinds they stand for. All others stay: an organisation is nobody's data."""

_UNUSED = ("tagger", "parser", "senter", "attribute_ruler", "lemmatizer", "morphologizer", "trainable_lemmatizer")
_SCORE = 0.5


@dataclass(frozen=True, slots=True)
class NameMatch:
    """A name that was found: [start, end) in characters of the text. A pipeline gives no score."""

    entity_type: str
    start: int
    end: int
    score: float = _SCORE


class Entity(Protocol):
    """What a pipeline found: its label, and its place in characters."""

    label_: str
    start_char: int
    end_char: int


class _Doc(Protocol):
    @property
    def ents(self) -> Iterable[Entity]: ...


class Pipeline(Protocol):
    """A loaded pipeline."""

    @property
    def lang(self) -> str | None: ...  # noqa: D102
    @property
    def meta(self) -> Mapping[str, object]: ...  # noqa: D102

    def __call__(self, text: str) -> _Doc:
        """Return the text with its entities."""
        ...


class NamesRecognizer:
    """The recogniser of names. Each text is read by the pipeline of its language, else by the first one."""

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        self._first = pipelines[0]
        self._by_language = {pipeline.lang: pipeline for pipeline in reversed(pipelines)}
        self.supported_entities = [PERSON, LOCATION]
        self.context: list[str] = []

    @property
    def version(self) -> str:
        """Return the names and versions of the pipelines."""
        return "+".join(f"{one.meta.get('name')}-{one.meta.get('version')}" for one in self._by_language.values())

    def analyze(self, text: str, score_min: float) -> Sequence[NameMatch]:
        """Find the names of people and places in `text`."""
        del score_min
        found = self._by_language.get(language_of(text), self._first)(text).ents
        kinds = ((_KINDS.get(entity.label_.upper()), entity) for entity in found)
        return [NameMatch(kind, entity.start_char, entity.end_char) for kind, entity in kinds if kind]


@functools.cache
def names_recognizer(models: tuple[str, ...]) -> NamesRecognizer | None:
    """Load pipelines, once a process; None for none. Takes seconds. Raises SettingsError for one that is not there."""
    return NamesRecognizer([_loaded(model) for model in models]) if models else None


def _loaded(model: str) -> Pipeline:
    import spacy

    try:
        return spacy.load(model, exclude=_UNUSED)
    except (OSError, ValueError) as exc:
        allowed = "a spaCy pipeline that is installed, or its folder; the extra `names` brings an English one"
        raise SettingsError(SETTING, repr(model), allowed) from exc
