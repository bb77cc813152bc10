"""The Labeler port over the embedded model, the lexicon and the markers: what a request is, in well under 2 ms.

Only user messages ask. The last one is labelled; why it is asked is read from all of them; text that the user quotes
or a tool returned yields at most the injection signal.
"""

from collections.abc import Mapping
from typing import NamedTuple

from serving.ages import stated_age
from serving.features import WindowError, fold
from serving.language import language_of
from serving.lexicon import PHRASE_PREFIX, hits_in, topics
from serving.linear import Band, LinearModel
from serving.markers import RequestMarkers, read_request
from serving.phrases.table import tags_in
from serving.vulnerability import is_malicious, vulnerability
from serving.wrappers import decoded, gives_orders, quoted_stretches, spoken
from topology.bundle import Category
from topology.errors import CheckFailed
from topology.events import ConversationEvent, Role, parts_text, request_text
from topology.labels import (
    NONE,
    AgeBand,
    CategoryId,
    Confidence,
    Context,
    Intent,
    LabelerIdentity,
    Outcome,
    RequestFinding,
    RequestLabels,
    Signal,
    Vulnerability,
)

NAME = "embedded"
HISTORY_CHARACTERS_MAX = 32_000
"""Characters of earlier user messages, the latest first, that are read for intent and risk."""
FINDINGS_MAX = 8

_RED_LINE = 4
_HARM_HEAD, _JAILBREAK_HEAD = "prompt_harm", "jailbreak"
_FALLBACK = CategoryId("wrongdoing.nonviolent")
_DANGER = CategoryId("dangerous_activity")
_AGES = tuple(AgeBand)
_WRAPS = frozenset({"override", "unbound"})
# Heads whose source label is coarser than the policy's categories: the lexicon may name a finer one of them.
_COARSE: Mapping[str, tuple[str, ...]] = {
    "indiscriminate_weapons": ("cbrn.weaponization", "cbrn.dual_use_high", "cbrn.science_low", "weapons.conventional"),
    "self_harm": ("self_harm.intent", "self_harm.method", "self_harm.discussion", "disordered_eating"),
}
_COARSE_DEFAULT = {"indiscriminate_weapons": "weapons.conventional", "self_harm": "self_harm.discussion"}


_TEXT_CATEGORIES: Mapping[str, str] = {"hateful_text": "hate", "harassing_text": "harassment"}


class _Seen(NamedTuple):
    """A category, how sure the labeller is, and the head's probability; None where the lexicon alone spoke."""

    category: CategoryId
    confidence: Confidence
    probability: float | None


class EmbeddedLabeler:
    """Labels requests with the packaged model. `categories` are the policy's; one that is not in it is not named."""

    def __init__(self, model: LinearModel, categories: Mapping[CategoryId, Category]) -> None:
        self._model = model
        self._categories = categories
        self._identity = LabelerIdentity(model=NAME, version=model.version)
        hits_in("")  # builds the phrase table, a third of a second, before the first request waits for it

    @property
    def identity(self) -> LabelerIdentity:
        """Who labels, as audit records name it."""
        return self._identity

    async def label(self, event: ConversationEvent) -> RequestLabels:
        """What the request is. Raises CheckFailed where the text is too long to be looked at whole."""
        return self.label_now(event)

    def label_now(self, event: ConversationEvent) -> RequestLabels:
        """As `label`, without waiting."""
        try:
            return self._label(event)
        except WindowError as exc:
            raise CheckFailed(Outcome.REFUSED, NAME, f"request of {exc.args[0]} characters") from exc

    def _label(self, event: ConversationEvent) -> RequestLabels:
        said = request_text(event)
        inner = decoded(said)
        text = "\n".join((said, *inner))
        scores = self._model.probabilities(text)
        markers = read_request(fold(text))
        history = hits_in(fold(_earlier(event)))
        signals = self._signals(event, said, inner, scores, markers)
        seen = _distinct((*self._from_lexicon(markers), *self._from_heads(scores)))
        risk = max(markers.vulnerability, vulnerability(history), key=tuple(Vulnerability).index)
        malicious = markers.intent is Intent.MALICIOUS or is_malicious(history)
        age = _youngest(event)
        return RequestLabels(
            labeler=self._identity,
            findings=tuple(self._finding(each, markers, malicious=malicious) for each in seen[:FINDINGS_MAX]),
            vulnerability=risk,
            age_band=age,
            age_verified=event.user.age_verified and age is event.user.age_band,
            signals=signals,
            language=language_of(said),
        )

    def _from_lexicon(self, markers: RequestMarkers) -> list[_Seen]:
        named = [_Seen(category, Confidence.HIGH, None) for category in topics(markers.hits)]
        return [each for each in named if each.category in self._categories]

    def _from_heads(self, scores: Mapping[str, float]) -> list[_Seen]:
        """Categories by their heads.

        An abstaining head counts only where the general harm head does not say no. For a category that is nothing but
        red line, where an answer may hold nothing at all, both heads must speak, and neither may merely doubt.
        """
        bands = self._model.bands(scores)
        harmful = bands.get(_HARM_HEAD, Band.OUT)
        seen: list[_Seen] = []
        for name, score in sorted(scores.items(), key=lambda item: -item[1]):
            category = head_category(name)
            if category not in self._categories or bands[name] is Band.OUT:
                continue
            grave = self._categories[category].harm[0] == _RED_LINE
            if harmful is Band.OUT and (grave or bands[name] is Band.ABSTAIN):
                continue
            if grave and bands[name] is Band.ABSTAIN:
                continue
            seen.append(_Seen(category, _confidence(bands[name]), score))
        if not seen and harmful is Band.IN and _FALLBACK in self._categories:
            seen.append(_Seen(_FALLBACK, Confidence.LOW, scores[_HARM_HEAD]))
        return seen

    def _finding(self, seen: _Seen, markers: RequestMarkers, *, malicious: bool) -> RequestFinding:
        lowest, highest = self._categories[seen.category].harm
        return RequestFinding(
            category=seen.category,
            harm=lowest if markers.asked_detail == 1 and not malicious else highest,
            intent=_intent(seen.category, markers, malicious=malicious),
            context=Context.GENERAL if malicious and markers.context is not Context.TRANSFORMATION else markers.context,
            asked_detail=markers.asked_detail,
            input_detail=markers.input_detail,
            supplied_in_full=markers.supplied_in_full,
            confidence=seen.confidence,
            probability=seen.probability,
        )

    def _signals(
        self,
        event: ConversationEvent,
        said: str,
        inner: tuple[str, ...],
        scores: Mapping[str, float],
        markers: RequestMarkers,
    ) -> tuple[Signal, ...]:
        signals: set[Signal] = set()
        attacked = _JAILBREAK_HEAD in scores and self._model.band(_JAILBREAK_HEAD, scores[_JAILBREAK_HEAD]) is Band.IN
        shown = quoted_stretches(said)
        tags = {tag.removeprefix(PHRASE_PREFIX) for tag in markers.hits}
        if shown and not tags.isdisjoint(_WRAPS):
            tags = tags_in("\n".join((spoken(said), *inner)))
        if attacked or not tags.isdisjoint(_WRAPS):
            played = "phrase.persona" in markers.hits
            signals.add(Signal.JAILBREAK_ROLEPLAY if played else Signal.JAILBREAK_OTHER)
        if any(gives_orders(text) for text in (*_unauthoritative(event), *shown)):
            signals.add(Signal.INJECTION)
        if inner:
            signals.add(Signal.ENCODING)
        return tuple(sorted(signals))


def head_category(head: str) -> CategoryId:
    """The policy category that a head speaks of; a coarse head's default one."""
    return CategoryId(_COARSE_DEFAULT.get(head) or _TEXT_CATEGORIES.get(head, head))


def _intent(category: CategoryId, markers: RequestMarkers, *, malicious: bool) -> Intent:
    """Malicious where that is stated; who asks out of danger how to leave it asks for good reason; else unclear."""
    if malicious:
        return Intent.MALICIOUS
    endangered = markers.vulnerability is Vulnerability.IMMINENT_DANGER and category == _DANGER
    return Intent.BENIGN if endangered else Intent.DUAL_USE


def _youngest(event: ConversationEvent) -> AgeBand:
    """The youngest age that the user or the chat service says; a stated one only ever lowers it."""
    said = "\n".join(parts_text(message.parts) for message in event.messages if message.role is Role.USER)
    stated = stated_age(said)
    return event.user.age_band if stated is AgeBand.UNKNOWN else max(stated, event.user.age_band, key=_AGES.index)


def _confidence(band: Band) -> Confidence:
    return Confidence.HIGH if band is Band.IN else Confidence.LOW


def _distinct(seen: tuple[_Seen, ...]) -> list[_Seen]:
    """One entry per category, the first; a coarse head's default gives way to what the lexicon named finer."""
    kept: dict[CategoryId, _Seen] = {}
    for each in seen:
        coarse = next((head for head, default in _COARSE_DEFAULT.items() if default == each.category), "")
        if each.probability is not None and any(finer in kept for finer in _COARSE.get(coarse, ())):
            continue
        if each.category != NONE:
            kept.setdefault(each.category, each)
    return list(kept.values())


def _earlier(event: ConversationEvent) -> str:
    """The user's earlier messages, the latest first, up to `HISTORY_CHARACTERS_MAX`."""
    texts = [parts_text(message.parts) for message in event.messages if message.role is Role.USER][:-1]
    return "\n".join(reversed(texts))[:HISTORY_CHARACTERS_MAX]


def _unauthoritative(event: ConversationEvent) -> tuple[str, ...]:
    return tuple(parts_text(message.parts) for message in event.messages if message.role is Role.TOOL)
