"""The Labeler port over the embedded model, the lexicon and the markers. It labels a request in well under 2 ms.

Only user messages count as requests. Those since the last answer are labelled together, with what they lean on
(serving/guards/conversation.py); intent and risk are read from all of them. A message that shows something, such as
a quotation (serving/text/quotations.py), is read twice: as a whole, and only the user's own words. The stricter reading
counts, and only the user's own words set a context, so what is shown can tighten a label but never loosen one. Text
that a tool returned yields at most the injection signal.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from serving.guards.ages import stated_age
from serving.guards.contexts import context_of, transforms
from serving.guards.conversation import Asked, asked_of
from serving.guards.draft_markers import has_operational_detail
from serving.guards.linear import Band, LinearModel
from serving.guards.markers import RISK_TAGS, RequestMarkers, bounded, is_malicious, read_request, vulnerability
from serving.text.features import WindowError, fold
from serving.text.language import language_of
from serving.text.lexicon import PHRASE_PREFIX, Hits, hits_in, topics
from serving.text.phrases import tags_in
from serving.text.quotations import Told, told
from serving.text.wrappers import decoded, gives_orders
from topology.contract.errors import CheckFailed
from topology.contract.events import ConversationEvent, Parts, Role, parts_text
from topology.contract.labels import (
    ANSWER,
    NONE,
    AgeBand,
    CategoryId,
    Confidence,
    Context,
    Intent,
    LabelerIdentity,
    Leaning,
    Level,
    Outcome,
    RequestFinding,
    RequestLabels,
    RiskSubject,
    Signal,
    Urgency,
    Vulnerability,
)
from topology.policy.bundle import Category

NAME = "embedded"
PHRASES, HEADS = "phrases", "heads"
"""The independent sources of a finding: rules of words and phrases, and the heads of the model."""

HISTORY_CHARACTERS_MAX = 32_000
"""The most characters of earlier user messages that are read for intent and risk, the latest message first."""
FINDINGS_MAX = 8
"""The most findings of a request; an answer that it takes up has as many of its own at most."""

_RED_LINE = 4
_HARM_HEAD, _JAILBREAK_HEAD = "prompt_harm", "jailbreak"
_FALLBACK = CategoryId("wrongdoing.nonviolent")
_DANGER = CategoryId("dangerous_activity")
_AGES = tuple(AgeBand)
_RISKS = tuple(Vulnerability)
_CRISES = (Vulnerability.ACUTE_SELF_HARM, Vulnerability.HARM_TO_OTHERS)
_WRAPS = frozenset({"override", "unbound"})
# Heads whose label is coarser than the policy's categories. The lexicon may name one of the finer categories.
_COARSE: Mapping[str, tuple[str, ...]] = {
    "indiscriminate_weapons": ("cbrn.weaponization", "cbrn.dual_use_high", "cbrn.science_low", "weapons.conventional"),
    "self_harm": ("self_harm.intent", "self_harm.method", "self_harm.discussion", "disordered_eating"),
}
_COARSE_DEFAULT = {"indiscriminate_weapons": "weapons.conventional", "self_harm": "self_harm.discussion"}


_TEXT_CATEGORIES: Mapping[str, str] = {"hateful_text": "hate", "harassing_text": "harassment"}


class _Seen(NamedTuple):
    """A category, the labeller's confidence, and the head's probability; None if only the lexicon named it."""

    category: CategoryId
    confidence: Confidence
    probability: float | None
    sources: tuple[str, ...]


class _Reading(NamedTuple):
    """A text, the texts encoded in it, and what was seen in all of them."""

    text: str
    inner: tuple[str, ...]
    scores: Mapping[str, float]
    markers: RequestMarkers
    seen: Mapping[CategoryId, _Seen]


class _Ask(NamedTuple):
    """The traits that all findings of a request share. `endangered`: the user's own words tell of their danger."""

    detail: Level
    malicious: bool
    endangered: bool
    said: Told


class EmbeddedLabeler:
    """A labeller with the packaged model. `categories` are the policy's; it names no others."""

    def __init__(self, model: LinearModel, categories: Mapping[CategoryId, Category]) -> None:
        self._model = model
        self._categories = categories
        self._identity = LabelerIdentity(model=NAME, version=model.version)

    @property
    def identity(self) -> LabelerIdentity:
        """Return the labeller's identity for audit records."""
        return self._identity

    async def label(self, event: ConversationEvent) -> RequestLabels:
        """Return the labels of the request. Raises CheckFailed if its text is too long to be read as a whole."""
        return self.label_now(event)

    def label_now(self, event: ConversationEvent) -> RequestLabels:
        """Return what `label` does, as a plain call."""
        try:
            return self._label(event)
        except WindowError as exc:
            raise CheckFailed(Outcome.REFUSED, NAME, f"request of {exc.args[0]} characters") from exc

    def _label(self, event: ConversationEvent) -> RequestLabels:
        asked = asked_of(event)
        before = [told(message) for message in asked.earlier]
        said = told(asked.parts)
        whole = self._read(_with_referred(parts_text(asked.parts), asked))
        own = self._read(_with_referred(said.own, asked)) if said.shown else whole
        earlier = _earlier(asked.earlier, before)
        malicious = any(reading.markers.intent is Intent.MALICIOUS for reading in (own, whole)) or is_malicious(earlier)
        ask = _Ask(
            detail=_detail(asked, own, whole),
            malicious=malicious,
            endangered=own.markers.vulnerability is Vulnerability.IMMINENT_DANGER,
            said=said,
        )
        age = _youngest(event.user.age_band, [*asked.earlier, asked.parts], [*before, said])
        risk = _riskier(
            max(own.markers.vulnerability, _risk_with(earlier, own, asked), key=_RISKS.index),
            whole.markers.vulnerability,
        )
        return RequestLabels(
            labeler=self._identity,
            findings=(*self._findings(own, whole, ask), *self._of_answer(asked, ask)),
            vulnerability=risk,
            risk_subject=_subject(risk, own.markers.hits),
            urgency=Urgency.NOW if risk is Vulnerability.IMMINENT_DANGER else None,
            touches_risk=asked.leaning not in {Leaning.NONE, Leaning.CLOSES},
            risk_sources=(PHRASES,) if risk is not Vulnerability.NONE else (),
            leans=asked.leans,
            age_band=age,
            age_verified=event.user.age_verified and age is event.user.age_band,
            signals=self._signals(event, said, own, whole),
            language=language_of(said.own or whole.text),
            leaning=asked.leaning,
        )

    def _read(self, text: str) -> _Reading:
        inner = decoded(text)
        text = "\n".join((text, *inner))
        scores = self._model.probabilities(text)
        markers = read_request(fold(text))
        seen = _distinct((*self._from_lexicon(markers), *self._from_heads(scores)))
        return _Reading(text, inner, scores, markers, {each.category: each for each in seen})

    def _findings(self, own: _Reading, whole: _Reading, ask: _Ask) -> tuple[RequestFinding, ...]:
        """Return the findings: first those that the user's own words name, then those only shown."""
        context = Context.GENERAL if ask.malicious else context_of(ask.said, ask.detail)
        supplied = self._read(ask.said.shown_text) if transforms(ask.said, ask.detail) else None
        findings: list[RequestFinding] = []
        for category, seen in {**whole.seen, **own.seen}.items():
            finding = self._finding(seen, ask, context if category in own.seen else Context.QUOTED_UNTRUSTED)
            if supplied is not None and category in supplied.seen:
                finding = _transformed(finding, supplied)
            findings.append(finding)
        findings.sort(key=lambda finding: finding.category not in own.seen)
        return tuple(findings[:FINDINGS_MAX])

    def _of_answer(self, asked: Asked, ask: _Ask) -> tuple[RequestFinding, ...]:
        """Return the findings of the answer that a turn takes up: text that the user may have made up.

        They ask for as much as it has. Whoever knows that it was published drops them (`ANSWER`).
        """
        if not asked.answer:
            return ()
        reading = self._read(asked.answer)
        is_malicious = ask.malicious or reading.markers.intent is Intent.MALICIOUS
        detail: Level = 3 if has_operational_detail(bounded(fold(reading.text))) else 2
        taken = ask._replace(detail=max(ask.detail, detail), malicious=is_malicious)
        found = [self._finding(seen, taken, Context.QUOTED_UNTRUSTED) for seen in reading.seen.values()]
        return tuple([msgspec.structs.replace(finding, sources=(ANSWER,)) for finding in found[:FINDINGS_MAX]])

    def _from_lexicon(self, markers: RequestMarkers) -> list[_Seen]:
        named = [_Seen(category, Confidence.HIGH, None, (PHRASES,)) for category in topics(markers.hits)]
        return [each for each in named if each.category in self._categories]

    def _from_heads(self, scores: Mapping[str, float]) -> list[_Seen]:
        """Return the categories that heads name.

        A head that abstains counts only if the general harm head does not say no. A category that is all red line,
        of which an answer may contain nothing, needs both: its own head says yes, and the general one does not say no.
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
            seen.append(_Seen(category, _confidence(bands[name]), score, (HEADS,)))
        if not seen and harmful is Band.IN and _FALLBACK in self._categories:
            seen.append(_Seen(_FALLBACK, Confidence.LOW, scores[_HARM_HEAD], (HEADS,)))
        return seen

    def _finding(self, seen: _Seen, ask: _Ask, context: Context) -> RequestFinding:
        lowest, highest = self._categories[seen.category].harm
        return RequestFinding(
            category=seen.category,
            harm=lowest if ask.detail == 1 and not ask.malicious else highest,
            intent=_intent(seen.category, ask),
            context=context,
            asked_detail=ask.detail,
            confidence=seen.confidence,
            probability=seen.probability,
            sources=seen.sources,
        )

    def _signals(self, event: ConversationEvent, said: Told, own: _Reading, whole: _Reading) -> tuple[Signal, ...]:
        signals: set[Signal] = set()
        attacked = any(self._is_attack(reading.scores) for reading in (own, whole))
        speaking = own if said.own else whole  # a message that only shows things counts as said
        tags = {tag.removeprefix(PHRASE_PREFIX) for tag in speaking.markers.hits}
        if said.shown and whole.inner:
            tags |= tags_in("\n".join(whole.inner))
        if attacked or not tags.isdisjoint(_WRAPS):
            played = any("phrase.persona" in reading.markers.hits for reading in (own, whole))
            signals.add(Signal.JAILBREAK_ROLEPLAY if played else Signal.JAILBREAK_OTHER)
        if any(gives_orders(text) for text in (*_unauthoritative(event), *said.shown)):
            signals.add(Signal.INJECTION)
        if whole.inner:
            signals.add(Signal.ENCODING)
        return tuple(sorted(signals))

    def _is_attack(self, scores: Mapping[str, float]) -> bool:
        return _JAILBREAK_HEAD in scores and self._model.band(_JAILBREAK_HEAD, scores[_JAILBREAK_HEAD]) is Band.IN


def head_category(head: str) -> CategoryId:
    """Return the policy's category of a head; for a coarse head its default."""
    return CategoryId(_COARSE_DEFAULT.get(head) or _TEXT_CATEGORIES.get(head, head))


def _intent(category: CategoryId, ask: _Ask) -> Intent:
    """Return the intent: malicious if stated, benign if someone in danger asks about that danger, else dual use."""
    if ask.malicious:
        return Intent.MALICIOUS
    return Intent.BENIGN if ask.endangered and category == _DANGER else Intent.DUAL_USE


def _with_referred(text: str, asked: Asked) -> str:
    """Return a text after what it takes up again."""
    return f"{asked.referred}\n{text}" if asked.referred else text


def _detail(asked: Asked, own: _Reading, whole: _Reading) -> Level:
    """Return the detail asked for: nothing by a turn that closes, else what the words say."""
    if asked.leaning in {Leaning.CLOSES, Leaning.DENIES}:
        return 0
    return max(own.markers.asked_detail, whole.markers.asked_detail)


def _risk_with(earlier: Hits, own: _Reading, asked: Asked) -> Vulnerability:
    """Return the risk that this turn and earlier ones tell of together, if this turn has a part in it.

    On another subject the conversation's memory keeps the risk; it is no sign of this turn.
    """
    has_part = asked.leaning in {Leaning.CONTINUES, Leaning.AGREES} or not RISK_TAGS.isdisjoint(own.markers.hits)
    return vulnerability({**earlier, **own.markers.hits}) if has_part else Vulnerability.NONE


def _subject(risk: Vulnerability, hits: Hits) -> RiskSubject:
    """Return whose risk it is: somebody else's if only words about others tell of it."""
    is_about_others = "phrase.other_self_harm" in hits and not {"phrase.self_harm", "phrase.method"} & hits.keys()
    is_other = risk is Vulnerability.ACUTE_SELF_HARM and is_about_others
    return RiskSubject.OTHER if is_other else RiskSubject.SELF


def _transformed(finding: RequestFinding, supplied: _Reading) -> RequestFinding:
    """Return the finding as one of a text that the user supplied and wants in another form."""
    detail = 3 if has_operational_detail(bounded(fold(supplied.text))) else 2
    return msgspec.structs.replace(finding, context=Context.TRANSFORMATION, input_detail=detail, supplied_in_full=True)


def _riskier(told: Vulnerability, shown: Vulnerability) -> Vulnerability:
    """Return the worse of the stated and the shown risk. A crisis that the user states is never replaced."""
    return told if told in _CRISES else max(told, shown, key=_RISKS.index)


def _youngest(known: AgeBand, messages: Sequence[Parts], tellings: Sequence[Told]) -> AgeBand:
    """Return the youngest age that the user or the chat service gives; a stated age only ever lowers it."""
    texts = [parts_text(parts) for parts in messages] + [said.own for said in tellings if said.shown]
    stated = max(map(stated_age, texts), key=_AGES.index)
    return known if stated is AgeBand.UNKNOWN else max(stated, known, key=_AGES.index)


def _confidence(band: Band) -> Confidence:
    return Confidence.HIGH if band is Band.IN else Confidence.LOW


def _distinct(seen: tuple[_Seen, ...]) -> list[_Seen]:
    """Return the first entry of each category, with all its sources.

    A coarse head's default is dropped if the lexicon named a finer one, whose second source it then is.
    """
    kept: dict[CategoryId, _Seen] = {}
    for each in seen:
        coarse = next((head for head, default in _COARSE_DEFAULT.items() if default == each.category), "")
        finer = [name for name in _COARSE.get(coarse, ()) if name in kept]
        if each.probability is not None and finer:
            for name in map(CategoryId, finer):
                kept[name] = kept[name]._replace(sources=tuple(sorted({*kept[name].sources, *each.sources})))
            continue
        if each.category != NONE:
            known = kept.setdefault(each.category, each)
            kept[each.category] = known._replace(sources=tuple(sorted({*known.sources, *each.sources})))
    return list(kept.values())


def _earlier(messages: Sequence[Parts], tellings: Sequence[Told]) -> Hits:
    """Return the hits in the user's earlier messages: in all of the text and, if something is shown, in the own words.

    Each reads the latest `HISTORY_CHARACTERS_MAX`, the latest message first.
    """
    whole = "\n".join(parts_text(parts) for parts in messages[::-1])
    hits = hits_in(fold(whole[:HISTORY_CHARACTERS_MAX]))
    if not any(said.shown for said in tellings):
        return hits
    own = "\n".join(said.own for said in tellings[::-1])
    return {**hits, **hits_in(fold(own[:HISTORY_CHARACTERS_MAX]))}


def _unauthoritative(event: ConversationEvent) -> tuple[str, ...]:
    return tuple(parts_text(message.parts) for message in event.messages if message.role is Role.TOOL)
