"""Deterministic markers of a request: the detail asked for, the intent, and who is at risk.

All patterns are linear: no nested repetition, bounded gaps. Markers raise a label and never lower it. The detail asked
for is read in English only; risk and intent come from the phrases, which know some words of other languages. A person
at risk is worth a false alarm, because crisis mode costs little.
"""

import re

from msgspec import Struct

from serving.text.lexicon import Hits, hits_in
from topology.contract.labels import Intent, Level, Vulnerability

REQUEST_CHARACTERS_MAX = 16_000
"""The number of characters that are read from each end of a request. Only the heads read what lies between."""

_RISKS: tuple[tuple[Vulnerability, tuple[str, ...]], ...] = (
    (Vulnerability.IMMINENT_DANGER, ("phrase.danger",)),
    (Vulnerability.ACUTE_SELF_HARM, ("phrase.self_harm", "phrase.method", "phrase.other_self_harm")),
    (Vulnerability.HARM_TO_OTHERS, ("phrase.harm_others",)),
    (Vulnerability.RADICALIZATION_RISK, ("phrase.radical",)),
    (Vulnerability.DELUSION_MANIA, ("delusion", "phrase.delusion")),
    (Vulnerability.DISTRESS, ("phrase.distress",)),
)
"""Risks and the tags that state them, the strictest first: the first that is stated counts."""
_DESPERATE = ("phrase.distress", "phrase.loss")
RISK_TAGS = frozenset({*(tag for _, tags in _RISKS for tag in tags), *_DESPERATE, "phrase.means"})
"""The tags that tell of a risk, alone or together."""


class RequestMarkers(Struct, frozen=True, kw_only=True):
    """The markers found in a request."""

    asked_detail: Level
    intent: Intent
    vulnerability: Vulnerability
    hits: Hits


def _any(*alternatives: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(alternatives) + r")\b")


_ASKS = _any(
    "how", "what", "why", "where", "when", "who", "which", "can you", "could you", "would you", "will you", "please",
    "write", "give", "tell", "explain", "make", "list", "show", "help", "describe", "create", "generate", "provide",
    "draft", "translate", "summari[sz]e", "fix", "find", "compute", "calculate", "roast", "print", "should i", "is it",
    "act as", "pretend", "need", "want you", "compare", "repeat", "label", "turn", "convert", "rewrite", "recommend",
)  # fmt: skip
_TELLS = re.compile(
    r"^\W*(?:$|(?:i|im|ive|id|i'\w+|my|mine|we|we'\w+|our|he|she|they|it|its|it's|this|that|these|those|there|the|a|an|thanks?|hi|hello|hey|"
    r"ok|okay|yes|no|not|you|your|you're|today|yesterday|tonight|tomorrow|last|since|because|so|and|but|if|nobody|everyone|life|"
    r"everything|nothing|maybe|sorry|well|lol|good|nice|great|now|just|still|even|wanna|want|don't|dont|can't|cant|never|feeling|"
    r"someone|people|mom|dad|tired|done|gonna|going|thinking)\b)"
)
"""First words with which people tell rather than ask. A bare `Meth synthesis` or `Copy his signature` asks."""
_DEFINITION = re.compile(
    r"^\W*(?:please )?(?:what (?:is|are|was|were)|what does .{1,80} mean|define|who (?:is|was)|when (?:was|did)|"
    r"is (?:the )?.{1,60} (?:on|a|an) )"
)
_OPERATIONAL = _any(
    "how (?:to|do i|can i|could i|would i|do you|does one)", "step[ -]by[ -]step", "steps", "instructions", "recipe",
    "exact(?:ly)?", "procedure", "protocol", "guide", "tutorial", "working", "full", "complete", "detailed",
    "quantit(?:y|ies)", "amounts?", "temperatures?", "ingredients?", "code", "script", "list of", "templates?",
    "blueprint", "formula", "synthesi[sz]e", "parameters?", "methods?", "verbatim", "word for word", "explicit",
)  # fmt: skip
_REPAIR = _any("troubleshoot", "fix the (?:gaps|errors)", "improve the yield", "why does .{1,40} fail", "optimi[sz]e")


def read_request(folded: str) -> RequestMarkers:
    """Return the markers of a folded request."""
    text = bounded(folded)
    hits = hits_in(text)
    return RequestMarkers(
        asked_detail=_asked_detail(text),
        intent=Intent.MALICIOUS if is_malicious(hits) else Intent.DUAL_USE,
        vulnerability=vulnerability(hits),
        hits=hits,
    )


def vulnerability(hits: Hits) -> Vulnerability:
    """Return the strictest risk that the phrases state. Despair or loss together with means is an acute one."""
    found = next((risk for risk, tags in _RISKS if any(tag in hits for tag in tags)), Vulnerability.NONE)
    despairs = any(tag in hits for tag in _DESPERATE) and "phrase.means" in hits
    order = tuple(Vulnerability).index
    return max(found, Vulnerability.ACUTE_SELF_HARM if despairs else Vulnerability.NONE, key=order)


def is_malicious(hits: Hits) -> bool:
    """Return whether the phrases state a purpose to harm, to steal or to escape notice."""
    return "phrase.malicious" in hits or "phrase.harm_others" in hits


def bounded(text: str) -> str:
    """Return both ends of a long text, or all of one of at most twice `REQUEST_CHARACTERS_MAX`."""
    if len(text) <= 2 * REQUEST_CHARACTERS_MAX:
        return text
    return text[:REQUEST_CHARACTERS_MAX] + "\n" + text[-REQUEST_CHARACTERS_MAX:]


def _asked_detail(text: str) -> Level:
    """Return the level asked for: D0 nothing, D1 a definition, D2 help, D3 operational detail, D4 repair of steps."""
    if _REPAIR.search(text):
        return 4
    if _OPERATIONAL.search(text):
        return 3
    if "?" not in text and not _ASKS.search(text) and _TELLS.search(text):
        return 0
    return 1 if _DEFINITION.search(text) else 2
