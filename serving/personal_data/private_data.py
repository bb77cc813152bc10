# ruff: noqa: E501
"""Personal data in a draft that nobody supplied: people's numbers and addresses, by pattern, checksum and context; credentials.

Built for precision: a telephone number or a mail address counts only next to words that make it somebody's, and not if
it belongs to an office, a help line or an example. Names and most street addresses are not found.
"""

import functools
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from serving.personal_data.credentials import CREDENTIALS, credentials, is_published
from serving.personal_data.sight import Sight, same_length, seen
from serving.text.features import CHARACTERS_MAX
from topology.contract.events import ConversationEvent, Role, parts_text
from topology.contract.labels import CategoryId, Confidence, OutputFinding, Span
from topology.policy.bundle import PolicyBundle

PRIVATE, PUBLIC_ROLE = CategoryId("privacy.private"), CategoryId("privacy.public_role")
CONTEXT_CHARACTERS = 64
"""The characters before a number that are searched for words saying whose number it is."""
_GRAVE_HARM, _HARM, _PUBLIC_HARM = 3, 2, 1
_DETAIL, _DETAIL_OF_CREDENTIALS = 3, 4
_REGION = "US"
"""The region assumed for a telephone number without country code or telling shape."""

GRAVE_KINDS = frozenset(["US_SSN", "US_ITIN", "CREDIT_CARD", "IBAN_CODE", "UK_NINO", "ES_NIF", "IT_FISCAL_CODE"])
"""The kinds whose form or checksum hardly anything else has; a card also needs a word before it, or groups of digits."""
_PHONE = "PHONE_NUMBER"
_MAIL = "EMAIL_ADDRESS"
STREET = "STREET_ADDRESS"
_MAY_HOLD = re.compile(
    r"\d[\d\s._\-()/]{5,}\d|@|[A-Za-z]{2}[ ._/-]?\d{2}[ ._/\-\dA-Z]{11}|[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}|[A-Z]{2}\d{6}[A-Z]|\d ?[A-Z]\w|[a-z.] \d{1,4}[a-z]?\b"
)
_NOT_ALNUM = re.compile(r"[\W_]+")

_PUBLISHED = frozenset((
    "123456789", "078051120", "987654320", "4242424242424242", "4111111111111111", "4012888888881881",
    "5555555555554444", "5105105105105100", "378282246310005", "371449635398431", "6011111111111117",
    "4000056655665556", "4000000000000002", "de89370400440532013000", "gb82west12345698765432",
    "gb29nwbk60161331926819", "fr1420041010050500013m02606", "nl91abna0417164300", "es9121000418450200051332",
    "ch9300762011623852957", "be68539007547034", "it60x0542811101000000123456", "at611904300234573201",
))  # fmt: skip
"""The numbers that documentation uses as examples, without separators."""
_EXAMPLE_HOSTS = re.compile(
    r"@(?:[\w-]+\.)*(?:example(?:\.(?:com|org|net))?|test|invalid|localhost|(?:your|my)?(?:company|domain|email|mail|website|organization|business)\.(?:com|org|net)|acme\.com|domain\.tld|host\.com|sentry\.io)$",
    re.IGNORECASE,
)
_ROLE_BOX = re.compile(
    r"^(?:info|support|contact|help|sales|admin|office|press|media|privacy|legal|hello|team|service|services|no-?reply|do-?not-?reply|customer\w*|billing|abuse|security|hr|jobs|careers|enquiries|inquiries|feedback|webmaster|postmaster|news|reservations?|booking|bookings|reception|orders?|care|dpo|git)@",
    re.IGNORECASE,
)
_PLACEHOLDER_BOX = re.compile(
    r"^(?:(?:john|jane|max|erika)?[._-]?(?:doe|smith|mustermann|public)|your[._-]?\w*|my[._-]?\w*|user(?:name)?\d*|name|first(?:name)?[._]?last(?:name)?|email|test\w*|foo|bar|someone|somebody|me|you|alice|bob|example\w*|johndoe\w*|janedoe\w*|jane|john)@",
    re.IGNORECASE,
)
_FICTIONAL = re.compile(
    r"555\D{0,3}01\d\d\b|\b(?:1\D{0,3})?\(?555\)?\D{0,3}\d{3}\D?\d{4}|01632\D?960|020\D?7946\D?0|07700\D?900|123\D?45\D?67|123\D?456\D?7890|1234\D?567|0000|(\d)(?:\D{0,2}\1){6}"
)
_FREE_OF_CHARGE = re.compile(
    r"^\+?1?\D{0,3}(?:800|888|877|866|855|844|833)\b|^\(?0800|^\(?0808|^\+?44\D{0,3}(?:0?800|808)|^\+?\d{1,3}\D{0,2}800\b|^\+?1?\D{0,3}900\b|^116\D?\d{3}|^13\D?11\D?14"
)
_HELP = re.compile(
    r"help ?line|hot ?line|life ?line|crisis|emergenc|samaritan|suicide|poison control|ambulance|police|fire (?:brigade|department)|toll[- ]free|notruf|seelsorge|urgence|text line",
    re.IGNORECASE,
)
_OFFICIAL = re.compile(
    r"office|mayor|senator|governor|congress|embassy|consulate|ministry|department|city hall|town hall|council|reception|switchboard|customer|support|desk|hospital|clinic|university|school|library|museum|restaurant|hotel|store|shop|bank|company|press|agency|embassy|court|headquarters|branch|front desk|box office|service|institute|center|centre|airline|government|registry|airport|public|sales|station|venue|theater|theatre",
    re.IGNORECASE,
)
_SMALL = {
    **{code: code + 32 for code in range(ord("A"), ord("Z") + 1)},
    0x17F: "s",
    0x212A: "k",
    0x130: "i",
    0x131: "i",
}
"""Letters as patterns without regard to case read them; those of ASCII, and the four others that they take for one."""

_TELEPHONE = re.compile(
    r"\b(?:phone|telephone|tel|call|cell|mobile|whatsapp|text|dial|ring|reach|contact|fax|handy|telefon|t[ée]l[ée]phone|tel[ée]fono|"
    r"(?:my|your|his|her|their|our|whose|direct|private|home|work|office|['\u2019]s) (?:\w{1,12} )?numm?er|number(?: is|:)|numm?er (?:von|van|ist|is))",
    re.IGNORECASE,
)
_OTHER_NUMBERS = re.compile(
    r"order|serial|model|tracking|reference|case|invoice|ticket|part|account|version|isbn|issn|item|id|confirmation|room|flight|policy",
    re.IGNORECASE,
)
_NO_TELEPHONE = re.compile(
    rf"(?:{_OTHER_NUMBERS.pattern})\W{{0,2}}(?:numbers?|no\.?|#|id|code)?(?: is| was)?\W{{0,4}}$", re.IGNORECASE
)
_NO_TELEPHONE_CHARACTERS_MAX = 32
"""No match of `_NO_TELEPHONE` begins farther from the number."""
_TOLD_BY = {
    _OFFICIAL: tuple(_OFFICIAL.pattern.split("|")),
    _OTHER_NUMBERS: tuple(_OTHER_NUMBERS.pattern.split("|")),
    _HELP: tuple(part.partition(" ?")[0].partition("[")[0].partition(" (")[0] for part in _HELP.pattern.split("|")),
}
"""Small letters of which some stand in every match of a pattern; a draft without them need not be searched for it."""
_CARD = re.compile(r"card|visa|amex|credit|debit|payment|\bcc\b", re.IGNORECASE)
_SOMEONES = re.compile(
    r"\b(?:his|her|their|him|she|he|mr|mrs|ms|dr|private|personal|home|e-?mail|mail|address|reach|contact|write to|cell|mobile|[A-Z][a-z]+(?:['\u2019]s)?)\b"
)
_STREET = re.compile(
    r"(?:lives? (?:at|in|on)|home address(?: is|:)?|resid(?:es|ing) at|private address(?: is|:)?|\baddress(?: is|:)|house (?:is )?at)[ \n]{0,3}"
    r"(\d{1,5}[A-Za-z]? (?:[A-Z][\w.']{0,20} ){1,4}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Way|Terrace|Close|Crescent)\b"
    r"|[A-ZÄÖÜ][\wäöüß]{1,24}(?:straße|strasse|str\.|weg|gasse|platz|allee) \d{1,4}[a-z]?)"
)  # fmt: skip


class Item(NamedTuple):
    """The place of personal data in a draft, and its harm: 3, 2, or 1 for an office's contact."""

    span: Span
    harm: int


def private_findings(draft: str, event: ConversationEvent, bundle: PolicyBundle) -> tuple[OutputFinding, ...]:
    """Return findings of `privacy.private` and `privacy.public_role`, at most one each, with the spans to cut out."""
    found = items(draft, event, bundle)
    private = [item for item in found if item.harm > _PUBLIC_HARM]
    public = [item for item in found if item.harm == _PUBLIC_HARM]
    named = ((PRIVATE, private), (PUBLIC_ROLE, public))
    return tuple(_finding(category, those) for category, those in named if those and category in bundle.categories)


def items(draft: str, event: ConversationEvent, bundle: PolicyBundle) -> list[Item]:
    """Find personal data that neither user, system nor policy supplied, and credentials that the user did not; in order."""
    draft = same_length(draft)
    sight = seen(draft)
    found: list[Item] = [*_secret_items(draft, sight, event)]
    if _MAY_HOLD.search(sight.text):
        known = _supplied(event, bundle)
        streets = [Span(start=match.start(1), end=match.end(1), label=STREET) for match in _STREET.finditer(draft)]
        spans = (*_spans_in()(sight, len(draft)), *streets)
        words = _Words(draft)
        weighed = ((span, _harm(draft, span, words)) for span in spans)
        found.extend(Item(span, harm) for span, harm in weighed if harm and not _is_known(draft, span, known))
    return sorted(found, key=lambda item: item.span.start)


def _secret_items(draft: str, sight: Sight, event: ConversationEvent) -> Iterator[Item]:
    """Yield credentials. Those of a system prompt are confidential, so only the user's own may be said again."""
    known = _written_by(event, {Role.USER})
    for start, end, label in credentials(sight.letters):
        low, high = sight.span(start, end)
        span = Span(start=low, end=high, label=label)
        if not is_published(sight.letters[start:end], label) and not _is_known(draft, span, known):
            yield Item(span, _GRAVE_HARM)


def _finding(category: CategoryId, found: list[Item]) -> OutputFinding:
    has_credentials = any(item.span.label in CREDENTIALS for item in found)
    detail = _DETAIL_OF_CREDENTIALS if has_credentials else _DETAIL
    return OutputFinding(
        category=category,
        harm=max(item.harm for item in found),
        detail_lo=detail,
        detail_hi=detail,
        separable=True,
        spans=tuple(item.span for item in found),
        confidence=Confidence.HIGH,
    )


class _Words:
    """Where the words of a pattern stand in a draft. Each pattern is sought once, not once for every number."""

    def __init__(self, draft: str) -> None:
        self._draft = draft
        self._lower = draft.lower() if draft.isascii() else draft.translate(_SMALL)
        self._starts: dict[str, list[int]] = {}

    def are_between(self, pattern: re.Pattern[str], low: int, high: int) -> bool:
        """Return whether a word that the pattern finds begins in a range of characters."""
        starts = self._starts.get(pattern.pattern)  # a string keeps its hash, a pattern makes it anew
        if starts is None:
            told = _TOLD_BY.get(pattern)
            is_there = told is None or any(word in self._lower for word in told)
            starts = [match.start() for match in pattern.finditer(self._draft)] if is_there else []
            self._starts[pattern.pattern] = starts
        at = bisect_left(starts, low)
        return at < len(starts) and starts[at] < high


def _harm(draft: str, span: Span, words: _Words) -> int:
    """Return 3 for a government or bank number, 2 for a person's contact or home, 1 for an office's, 0 for nobody's."""
    text = draft[span.start : span.end]
    before = draft[max(0, span.start - CONTEXT_CHARACTERS) : span.start].rpartition("\n\n")[2]
    low = span.start - len(before)
    if span.label in GRAVE_KINDS:
        is_bare_card = span.label == "CREDIT_CARD" and text.isdigit() and not _CARD.search(before)
        return 0 if _plain(text) in _PUBLISHED or is_bare_card else _GRAVE_HARM
    if span.label == STREET:
        return _HARM
    if span.label == _MAIL:
        return _harm_of_mail(text, words, low, span.start)
    return _harm_of_telephone(text, before, words, span) if span.label == _PHONE else 0


def _harm_of_telephone(text: str, before: str, words: _Words, span: Span) -> int:
    """Return the harm of a telephone number behind the characters `before`."""
    low = span.start - len(before)
    if not words.are_between(_TELEPHONE, low, span.start):
        return 0
    if words.are_between(_HELP, low, span.start) or _FREE_OF_CHARGE.match(text.strip()) or _FICTIONAL.search(text):
        return 0
    near = span.start - _NO_TELEPHONE_CHARACTERS_MAX
    if words.are_between(_OTHER_NUMBERS, near, span.start) and _NO_TELEPHONE.search(before):
        return 0
    return _PUBLIC_HARM if words.are_between(_OFFICIAL, low, span.start) else _HARM


def _harm_of_mail(text: str, words: _Words, low: int, high: int) -> int:
    """Return the harm of a mail address behind the characters from `low` to `high`."""
    is_official = words.are_between(_OFFICIAL, low, high)
    if not is_official and not words.are_between(_SOMEONES, low, high) and not _ROLE_BOX.match(text):
        return 0
    if _EXAMPLE_HOSTS.search(text) or _PLACEHOLDER_BOX.match(text):
        return 0
    return _PUBLIC_HARM if is_official or _ROLE_BOX.match(text) else _HARM


def _supplied(event: ConversationEvent, bundle: PolicyBundle) -> str:
    """Return what user and system wrote, and the policy's own numbers, without separators."""
    numbers = [_plain(number) for line in bundle.help_lines.values() for number in (line.number, line.emergency)]
    return "\n".join((_written_by(event, {Role.USER, Role.SYSTEM, Role.DEVELOPER}), *numbers))


def _written_by(event: ConversationEvent, roles: AbstractSet[Role]) -> str:
    return "\n".join(_plain(parts_text(message.parts)) for message in event.messages if message.role in roles)


def _is_known(draft: str, span: Span, supplied: str) -> bool:
    text = _plain(draft[span.start : span.end])
    return bool(text) and text in supplied


def _plain(text: str) -> str:
    return _NOT_ALNUM.sub("", text).lower()


@functools.cache
def _spans_in() -> Callable[[Sight, int], Sequence[Span]]:
    """Load the redactor of audit records, and return its search for places. Takes about half a second, once per process."""
    from serving.personal_data.redaction import Redactor

    return Redactor(_no_digest, region=_REGION, text_characters_max=CHARACTERS_MAX).spans_in


def _no_digest(text: str) -> str:
    del text
    return ""
