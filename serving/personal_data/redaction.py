"""The logging stage: the redacted form in which an audit record may keep a text.

Personal data that patterns and checksums can find is replaced by its label; names need a language model and stay unless
one is named (docs/redaction.md). The keyed digest is that of the whole original.
"""

import hmac
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version

from serving.personal_data.credentials import CHARACTERS_MAX as CREDENTIAL_MAX
from serving.personal_data.credentials import credentials
from serving.personal_data.names import NamesRecognizer
from serving.personal_data.phones import ENTITY as PHONE
from serving.personal_data.phones import PhoneRecognizer, TablePhoneRecognizer, is_table
from serving.personal_data.recognizers import SHORT_MAX, Recognizer, load_recognizers
from serving.personal_data.sight import Sight, seen
from topology.contract.drafts import CheckReport
from topology.contract.events import LoggedText
from topology.contract.labels import Span
from topology.contract.names import StageName
from topology.contract.texts import request_text
from topology.ports import CheckInput

RULES_VERSION = "2"
TEXT_CHARACTERS_MAX = 32_768
"""The characters of a text that are kept, redacted; the rest is neither read nor kept, which bounds the record."""

WINDOW_CHARACTERS = 2_048
OVERLAP_CHARACTERS = 2 * SHORT_MAX
CONTEXT_CHARACTERS = 64
SCORE_MIN = 0.4
"""The score below which a match counts only with one of its context words at most `CONTEXT_CHARACTERS` before it."""

CONTEXT_NEEDED = frozenset({"ABA_ROUTING_NUMBER", "US_NPI", "IN_AADHAAR"})
"""The kinds that need a context word too, because their one check digit accepts every tenth number of that length."""

ROWS = frozenset({"CREDIT_CARD", "MAC_ADDRESS", "IP_ADDRESS"})
"""The kinds that are no part of a longer row of groups: a fingerprint begins like a MAC address."""

CUT = "CUT"
"""The label of the part that was too long to keep."""

_DIGITS = re.compile(r"\d[\d\s.\-]*+|:[0-9A-Fa-f]{0,4}:")
_WORD = re.compile(r"\w")
_INSIDE_WORD = re.compile(r"[0-9A-Za-z\u00c0-\u052f]{2}")
_ROW_AFTER = re.compile(r"([-._])[0-9]|(:)[0-9A-Fa-f]")
_ROW_BEFORE = re.compile(r"[0-9]([-._])|[0-9A-Fa-f](:)")


class KeyedDigest:
    """The HMAC-SHA256 of a text, spelt `hmac-sha256:<key id>:<hex>`. It cannot be guessed without the key."""

    def __init__(self, key: bytes, key_id: str) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")
        self._prefix = f"hmac-sha256:{key_id}:"

    def __call__(self, text: str) -> str:
        """Return the digest of the text's UTF-8 bytes."""
        # hmac.digest would release the interpreter lock for each text, and a busy worker waits long to get it back.
        digest = self._keyed.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return self._prefix + digest.hexdigest()


class Redactor:
    """The redactor of personal data. `region` (ISO 3166) is that of telephone numbers without country code.

    `names` finds names of people and places; None: they stay.
    """

    def __init__(
        self,
        digest: Callable[[str], str],
        *,
        region: str,
        text_characters_max: int = TEXT_CHARACTERS_MAX,
        names: NamesRecognizer | None = None,
    ) -> None:
        loaded = load_recognizers()
        self._digest = digest
        self._names = names
        self._long: tuple[Recognizer, ...] = (*loaded.long, names) if names else loaded.long
        self._short: tuple[Recognizer, ...] = (PhoneRecognizer(region), *loaded.short)
        self._short_of_tables: tuple[Recognizer, ...] = (TablePhoneRecognizer(region), *loaded.short)
        self._text_characters_max = text_characters_max

    @property
    def version(self) -> str:
        """Return the versions of the rules, of the library and of what finds names."""
        return redactor_version(self._names)

    def redact(self, text: str) -> LoggedText:
        """Return the text without the data found; spans count characters of `text`, ascend and do not overlap."""
        spans = self.spans(text)
        pieces: list[str] = []
        position = 0
        for span in spans:
            pieces += (text[position : span.start], f"<{span.label}>")
            position = span.end
        pieces.append(text[position:])
        redacted = "".join(pieces).encode("utf-8", "replace").decode()
        return LoggedText(redacted=redacted, spans=spans, digest=self._digest(text))

    def spans(self, text: str) -> tuple[Span, ...]:
        """Find what is to be hidden; overlapping matches merge, and the longer, then the surer one gives the label."""
        return self.spans_in(seen(text[: self._text_characters_max + CREDENTIAL_MAX]), len(text))

    def spans_in(self, sight: Sight, length: int) -> tuple[Span, ...]:
        """Return `spans` of a text of `length` characters that is seen already."""
        placed = ((*sight.span(start, end), score, label) for start, end, score, label in self._matches(sight))
        found = [match for match in placed if match[0] < self._text_characters_max]
        spans = _merged(found)
        if length <= self._text_characters_max:
            return spans
        cut = Span(start=self._text_characters_max, end=length, label=CUT)
        if spans and spans[-1].end > cut.start:
            cut = Span(start=spans[-1].end, end=length, label=CUT)
        return (*spans, cut)

    def _matches(self, sight: Sight) -> Iterator["_Found"]:
        yield from ((found.start, found.end, _SURE, found.label) for found in credentials(sight.letters))
        text = sight.text
        for recognizer in self._long:
            yield from accepted(recognizer, text, 0, len(text))
        short = self._short_of_tables if is_table(text) else self._short
        for start, end in _windows(text):
            for recognizer in short:
                found = accepted(recognizer, text, start, end)
                yield from (match for match in found if not _is_part_of_token(text, match))


_SURE = 1.0
_Found = tuple[int, int, float, str]
"""A match as (start, end, score, label), in characters of the whole text."""


def redactor_version(names: NamesRecognizer | None) -> str:
    """Return the version of a redactor with `names`."""
    patterns = f"patterns-{RULES_VERSION}/presidio-{version('presidio-analyzer')}"
    return f"{patterns}/{names.version}" if names else patterns


def accepted(recognizer: Recognizer, text: str, low: int, high: int) -> Iterator[_Found]:
    """Yield the matches of a range that are sure, or that stand behind a context word."""
    may_have_context = _may_have_context(recognizer, text, low, high)
    if not may_have_context and CONTEXT_NEEDED.issuperset(recognizer.supported_entities):
        return
    for match in recognizer.analyze(text[low:high], 0.0 if may_have_context else SCORE_MIN):
        start = match.start + low
        is_sure = match.score >= SCORE_MIN and match.entity_type not in CONTEXT_NEEDED
        if is_sure or (may_have_context and _has_context(recognizer, text, start)):
            yield start, match.end + low, match.score, match.entity_type


def _is_part_of_token(text: str, found: _Found) -> bool:
    """Return whether a match begins or ends inside a word, or is a piece of a longer row of groups."""
    start, end, _, label = found
    if label == PHONE:
        return False  # its recogniser looks at what stands around it, and takes extensions
    before, inside, after = text[max(0, start - 2) : start], text[start:end], text[end : end + 2]
    if _INSIDE_WORD.fullmatch(before[-1:] + inside[:1]) or _INSIDE_WORD.fullmatch(inside[-1:] + after[:1]):
        return True
    if label not in ROWS:
        return False
    goes_on = (_ROW_AFTER.fullmatch(after), _ROW_BEFORE.fullmatch(before))
    return any(row is not None and row[row.lastindex or 0] in inside for row in goes_on)


def _may_have_context(recognizer: Recognizer, text: str, low: int, high: int) -> bool:
    """Return whether a match in a range may have a context word before it; it has none if the range has none."""
    before = text[max(0, low - CONTEXT_CHARACTERS) : high].lower()
    return any(word in before for word in recognizer.context)


def _has_context(recognizer: Recognizer, text: str, start: int) -> bool:
    before = text[max(0, start - CONTEXT_CHARACTERS) : start].lower()
    return any(_is_word_in(word, before) for word in recognizer.context)


def _is_word_in(word: str, text: str) -> bool:
    """Return whether `word` stands at the start of a word of `text`: `tel` is in `tel.` and not in `hotel`."""
    at = text.find(word)
    while at > 0 and _WORD.match(text[at - 1]):
        at = text.find(word, at + 1)
    return at >= 0


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Yield ranges around digits that together hold every short match, each at most `WINDOW_CHARACTERS` long."""
    start = end = -1
    for digits in _DIGITS.finditer(text):
        low, high = max(0, digits.start() - SHORT_MAX), min(len(text), digits.end() + SHORT_MAX)
        if start >= 0 and low <= end:
            end = max(end, high)
            continue
        if start >= 0:
            yield from _cut(start, end)
        start, end = low, high
    if start >= 0:
        yield from _cut(start, end)


def _cut(start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > WINDOW_CHARACTERS:
        yield start, start + WINDOW_CHARACTERS
        start += WINDOW_CHARACTERS - OVERLAP_CHARACTERS
    yield start, end


def _merged(found: Sequence[_Found]) -> tuple[Span, ...]:
    merged: list[_Found] = []
    for start, end, score, label in sorted(found):
        if merged and start < merged[-1][1]:
            first = merged[-1]
            widest = max(first, (start, end, score, label), key=lambda one: (one[1] - one[0], one[2]))
            merged[-1] = (first[0], max(first[1], end), widest[2], widest[3])
        else:
            merged.append((start, end, score, label))
    return tuple(Span(start=start, end=end, label=label) for start, end, _, label in merged)


class LoggingStage:
    """The stage `logging`: it redacts the request and draft of each input, and has no say in the verdict."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._version = redactor.version

    @property
    def name(self) -> str:
        """Return the stage's name."""
        return StageName.LOGGING.value

    @property
    def version(self) -> str:
        """Return the redactor's version."""
        return self._version

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """Return one report per input, in order, with `request_log` and `draft_log` and nothing else."""
        return [self._report(given) for given in batch]

    def _report(self, given: CheckInput) -> CheckReport:
        return CheckReport(
            check=self.name,
            version=self.version,
            request_log=self._redactor.redact(request_text(given.event)),
            draft_log=self._redactor.redact(given.draft.text),
        )
