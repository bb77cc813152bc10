"""The labels of a request from readings of it and of its documents, and from what phrase rules found. Pure.

Documents have no authority: what the user shows, and results of tools. They are read for orders to the assistant.
"""

from collections.abc import Iterable, Mapping

from msgspec import structs

from serving.guards.encoder.heads import CATEGORIES, HEADS, Kind
from serving.guards.encoder.model import Reading
from serving.guards.encoder.texts import PARAGRAPH, Given
from serving.guards.encoder.thresholds import NEVER, Thresholds
from serving.text.quotations import STRETCH_CHARACTERS_MIN, Told
from topology.contract.events import ConversationEvent, Message, Role, parts_text
from topology.contract.labels import (
    CategoryId,
    Confidence,
    Context,
    Intent,
    Level,
    Mode,
    RequestFinding,
    RequestLabels,
    RiskSubject,
    Signal,
    Urgency,
    Vulnerability,
)
from topology.policy.bundle import Category

SOURCE = "encoder"
DOCUMENTS_MAX = 4
"""The most documents of a turn that are read one by one; further ones are read with the last of them."""
FINDINGS_MAX = 8
RISKS = (
    Vulnerability.AT_RISK,
    Vulnerability.HARM_TO_OTHERS,
    Vulnerability.ACUTE_SELF_HARM,
    Vulnerability.IMMINENT_DANGER,
)
"""The risks for which recall comes first."""

CRISES = (Mode.CRISIS_SUPPORT, Mode.EMERGENCY_GUIDANCE)
REFUSALS = (Mode.REFUSE_REDIRECT, Mode.HARD_REFUSE)
_RANKS = tuple(Vulnerability)
_INTENTS = tuple(Intent)


def with_reading(
    rules: RequestLabels, reading: Reading, categories: Mapping[CategoryId, Category], at: Thresholds
) -> RequestLabels:
    """Return a request's labels: the encoder's, and those of phrase rules that the encoder does not contradict.

    `rules` are the labels of the phrase rules; what only n-gram heads found is not among them.
    """
    intent = _stricter(_intent(reading, at), [one.intent for one in rules.findings if one.intent is Intent.MALICIOUS])
    named = {one.category: one for one in rules.findings}
    findings = [
        _finding(name, probability, reading, intent, categories[name], named.get(name), at)
        for name, probability in _subjects(reading, named, at)
        if name in categories
    ]
    findings.sort(key=lambda one: -(one.probability or 0))
    risk = _risk(reading, at)
    spoken = rules.vulnerability if _agrees(rules.vulnerability, reading, at) else Vulnerability.NONE
    worst = max(risk, spoken, key=_RANKS.index)
    sources = [SOURCE] if risk is worst else []
    sources += rules.risk_sources if spoken is worst else ()
    return structs.replace(
        rules,
        findings=tuple(findings[:FINDINGS_MAX]),
        vulnerability=worst,
        risk_subject=_subject(reading, rules, worst),
        urgency=Urgency.NOW if reading.of("urgent") >= 0.5 and worst in RISKS else rules.urgency,
        risk_sources=tuple(sorted(set(sources))) if worst is not Vulnerability.NONE else (),
        signals=tuple(sorted({*_signals(reading, at), *rules.signals})),
    )


def _subjects(
    reading: Reading, named: Mapping[CategoryId, RequestFinding], at: Thresholds
) -> list[tuple[CategoryId, float]]:
    """Return the categories that count, with their probabilities.

    The mode has a word: a request that is surely direct names nothing by the encoder alone, and one that is surely
    not names at least the likeliest category.
    """
    direct = reading.of("mode", Mode.DIRECT_ANSWER)
    known = [
        (CategoryId(name), probability)
        for name, probability in zip(CATEGORIES, reading.heads["category"].tolist(), strict=True)
    ]
    alone = NEVER if direct >= at.direct else at.category
    counted = [one for one in known if one[1] >= (at.second if one[0] in named else alone)]
    is_other = 1 - direct - sum(reading.of("mode", mode) for mode in CRISES) >= at.other
    return counted or ([max(known, key=lambda one: one[1])] if is_other else [])


def _finding(
    name: CategoryId,
    probability: float,
    reading: Reading,
    intent: Intent,
    category: Category,
    named: RequestFinding | None,
    at: Thresholds,
) -> RequestFinding:
    lowest, highest = category.harm
    harm: Level = max(lowest, min(highest, int(reading.chosen("harm"))))
    context = Context.GENERAL if intent is Intent.MALICIOUS else Context(reading.chosen("context"))
    is_given = named is not None and named.context is Context.TRANSFORMATION
    base = named if is_given and named is not None else RequestFinding(category=name, harm=harm)
    return structs.replace(
        base,
        harm=harm,
        intent=intent,
        context=Context.TRANSFORMATION if is_given else context,
        asked_detail=int(reading.chosen("asked")),
        confidence=Confidence.HIGH if probability >= at.sure else Confidence.LOW,
        probability=round(probability, 4),
        sources=tuple(sorted({SOURCE, *(named.sources if named else ())})),
    )


def _intent(reading: Reading, at: Thresholds) -> Intent:
    refused = sum(reading.of("mode", mode) for mode in REFUSALS)
    if reading.of("intent", Intent.MALICIOUS) >= at.malicious or refused >= at.refused:
        return Intent.MALICIOUS
    is_benign = reading.of("intent", Intent.BENIGN) >= reading.of("intent", Intent.DUAL_USE)
    return Intent.BENIGN if is_benign else Intent.DUAL_USE


def _stricter(intent: Intent, others: Iterable[Intent]) -> Intent:
    return max((intent, *others), key=_INTENTS.index)


def _risk(reading: Reading, at: Thresholds) -> Vulnerability:
    """Return the likeliest risk if all of them together are likely enough, else the likeliest lesser state."""
    values = reading.heads["vulnerability"].tolist()
    by_name = dict(zip(HEADS["vulnerability"].values, values, strict=True))
    if sum(by_name[name] for name in RISKS) >= at.risk:
        return max(RISKS, key=lambda name: by_name[name])
    lesser = [Vulnerability(name) for name in by_name if name not in RISKS]
    return max(lesser, key=lambda name: by_name[name])


def _agrees(spoken: Vulnerability, reading: Reading, at: Thresholds) -> bool:
    """Return whether the encoder leaves room for a risk that a phrase states."""
    if spoken not in RISKS:
        return False
    return 1 - reading.of("vulnerability", Vulnerability.NONE) >= at.second


def _subject(reading: Reading, rules: RequestLabels, worst: Vulnerability) -> RiskSubject:
    if worst not in {Vulnerability.ACUTE_SELF_HARM, Vulnerability.IMMINENT_DANGER, Vulnerability.HARM_TO_OTHERS}:
        return RiskSubject.SELF
    is_other = reading.of("other") >= 0.5 or rules.risk_subject is RiskSubject.OTHER
    return RiskSubject.OTHER if is_other else RiskSubject.SELF


def _signals(reading: Reading, at: Thresholds) -> list[Signal]:
    return [Signal(name) for name in HEADS["signal"].values if reading.of("signal", name) >= at.signal]


def turn_of(event: ConversationEvent) -> tuple[Message, ...]:
    """Return the messages of the turn that an event ends with: all since the answer before the last user message."""
    asked = max((at for at, each in enumerate(event.messages) if each.role is Role.USER), default=0)
    answered = (at for at, each in enumerate(event.messages[:asked]) if each.role is Role.ASSISTANT)
    return event.messages[max(answered, default=-1) + 1 :]


def documents_of(event: ConversationEvent, said: Told) -> list[Given]:
    """Return the documents of a turn: what the message shows, as one, and each result of a tool, the latest first.

    What is shown in passing, such as a title in quotation marks, is no document.
    """
    shown = PARAGRAPH.join(text for text in said.shown if len(text) >= STRETCH_CHARACTERS_MIN)
    results = [parts_text(each.parts) for each in reversed(turn_of(event)) if each.role is Role.TOOL]
    texts = [text for text in (shown, *results) if text.strip()]
    last = PARAGRAPH.join(texts[DOCUMENTS_MAX - 1 :])
    return [Given(kind=Kind.DOCUMENT, text=text) for text in (*texts[: DOCUMENTS_MAX - 1], last) if text]


def gives_orders(document: Reading, at: Thresholds) -> bool:
    """Return whether a document holds an order to the assistant: a stretch is one, and the whole text says so too."""
    return bool(document.spans) and document.of("injection") >= at.injection
