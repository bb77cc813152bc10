"""Recognisers of personal data by pattern and checksum, from presidio-analyzer, without its language models and loop.

Importing `presidio_analyzer` loads spaCy and, if they are installed, torch and transformers. That costs seconds and
hundreds of megabytes, and nothing here uses them. So the modules that hold the recognisers are imported under an empty
package of the same name, which is removed again. No recogniser touches the network.
"""

import importlib
import importlib.util
import re
import string
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

_PACKAGE = "presidio_analyzer"
_CORE = (
    ("analysis_explanation", "AnalysisExplanation"),
    ("recognizer_result", "RecognizerResult"),
    ("entity_recognizer", "EntityRecognizer"),
    ("local_recognizer", "LocalRecognizer"),
    ("pattern", "Pattern"),
    ("pattern_recognizer", "PatternRecognizer"),
)
"""The names that recogniser modules take from the package's top level, in the order in which they need each other."""

_SHELLS = ("predefined_recognizers", "predefined_recognizers.generic", "predefined_recognizers.country_specific")
_COUNTRIES = ("us", "uk", "spain", "italy", "poland", "india", "singapore")

_RECOGNIZERS = (
    ("generic.credit_card_recognizer", "CreditCardRecognizer"),
    ("generic.crypto_recognizer", "CryptoRecognizer"),
    ("generic.ip_recognizer", "IpRecognizer"),
    ("generic.mac_recognizer", "MacAddressRecognizer"),
    ("country_specific.us.us_ssn_recognizer", "UsSsnRecognizer"),
    ("country_specific.us.us_itin_recognizer", "UsItinRecognizer"),
    ("country_specific.us.us_passport_recognizer", "UsPassportRecognizer"),
    ("country_specific.us.us_bank_recognizer", "UsBankRecognizer"),
    ("country_specific.us.us_driver_license_recognizer", "UsLicenseRecognizer"),
    ("country_specific.us.us_mbi_recognizer", "UsMbiRecognizer"),
    ("country_specific.us.us_npi_recognizer", "UsNpiRecognizer"),
    ("country_specific.us.aba_routing_recognizer", "AbaRoutingRecognizer"),
    ("country_specific.us.medical_license_recognizer", "MedicalLicenseRecognizer"),
    ("country_specific.uk.uk_nhs_recognizer", "NhsRecognizer"),
    ("country_specific.uk.uk_nino_recognizer", "UkNinoRecognizer"),
    ("country_specific.spain.es_nif_recognizer", "EsNifRecognizer"),
    ("country_specific.italy.it_fiscal_code_recognizer", "ItFiscalCodeRecognizer"),
    ("country_specific.poland.pl_pesel_recognizer", "PlPeselRecognizer"),
    ("country_specific.india.in_aadhaar_recognizer", "InAadhaarRecognizer"),
    ("country_specific.singapore.sg_fin_recognizer", "SgFinRecognizer"),
)

# Linear on any text: a run of local-part characters is tried once, at its start. Presidio's own pattern is quadratic
# in such a run, and asks tldextract, which would fetch a list, whether the domain exists; hiding needs no answer.
_EMAIL = r"(?<![!#$%&'*+\-/=?^_`{|}~.\w])[!#$%&'*+\-/=?^_`{|}~.\w]++@\w+(?:-+\w+)*+(?:\.\w+(?:-+\w+)*+)++"
# Lengths, prefixes and separators that the library's patterns leave out: Mastercard 2-series, Maestro of 12 to 19
# digits, Visa of 19, JCB of 15; dots and underscores between groups. The checksum decides.
_CARD = (
    r"(?<![0-9A-Za-z])(?:2131|1800|2[2-7]\d\d|[3-6]\d{3})"
    r"(?:(?:[ -]?\d){8,15}+|(?P<dot>[._])\d{4,6}(?:(?P=dot)\d{3,5}){1,3}+)(?![0-9A-Za-z])"
)
_IBAN = (
    r"(?<![0-9A-Z])([A-Z]{2}[ ._/-]?\d{2}(?:[ ._/-]?[0-9A-Z]{4}){2,6})"
    r"((?:[ ._/-]?[0-9A-Z]{4})?)((?:[ ._/-]?[0-9A-Z]{1,3})?)(?![0-9A-Z])"
)
_SEPARATORS = " -._/"
_REPLACED = [(separator, "") for separator in _SEPARATORS]
_URL = r"\b(?:[a-z][a-z0-9+.\-]{1,15}://|www\d{0,3}\.)[^\s<>\"']++"


class Match(Protocol):
    """A recogniser's match: [start, end) in characters of the text, and its score in [0, 1]."""

    @property
    def entity_type(self) -> str: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def end(self) -> int: ...  # noqa: D102
    @property
    def score(self) -> float: ...  # noqa: D102


class Recognizer(Protocol):
    """A recogniser. `context` are words that make a weak match likely."""

    supported_entities: list[str]
    context: list[str]

    def analyze(self, text: str, score_min: float) -> Sequence[Match]:
        """Return all matches in `text` whose score is at least `score_min`, and perhaps others."""
        ...


class Found(NamedTuple):
    """A match: [start, end) in characters of the text, and its score."""

    start: int
    end: int
    score: float
    entity_type: str


class _Library(Protocol):
    """A pattern recogniser of presidio-analyzer."""

    supported_entities: list[str]
    context: list[str]
    global_regex_flags: int
    patterns: list[Any]

    def validate_result(self, pattern_text: str) -> bool | None: ...

    def invalidate_result(self, pattern_text: str) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Recognizers:
    """The recognisers: `long` ones match any length in linear time, `short` ones at most `SHORT_MAX` around a digit."""

    long: tuple[Recognizer, ...]
    short: tuple[Recognizer, ...]


SHORT_MAX = 72
"""The longest match of a short recogniser: a bech32 address has 62 characters, a spaced IBAN 42."""


class AccountNumbers:
    """The library's recogniser of IBANs, whose form it asks for only where the check digits hold.

    The text is read with ASCII letters in capitals, because IBANs are written in lower case too. Only A to Z and digits
    then reach the library's checksum, which would log anything else.
    """

    def __init__(self, library: _Library) -> None:
        self._library = library
        self.supported_entities = library.supported_entities
        self.context = library.context
        self._entity = library.supported_entities[0]
        (pattern,) = library.patterns
        engine: Any = importlib.import_module("regex")
        self._pattern = engine.compile(pattern.regex, flags=library.global_regex_flags)
        self._score = float(pattern.score)

    def analyze(self, text: str, score_min: float) -> Sequence[Found]:
        """See `Recognizer.analyze`. What stands behind an account number may look like its last groups."""
        del score_min
        capitals = text.translate(_CAPITALS)
        found: list[Found] = []
        for match in self._pattern.finditer(capitals):
            start = match.start()
            for end in (match.end(3), match.end(2), match.end(1)):
                if score := self._score_of(capitals[start:end]):
                    found.append(Found(start, end, score, self._entity))
                    break
        return found

    def _score_of(self, number: str) -> float:
        digits = number.translate(_VALUES)
        if int(digits[6:] + digits[:6]) % _CHECK_DIGITS != 1:
            return 0.0
        is_valid = self._library.validate_result(number)
        return self._score if is_valid is None else float(is_valid)


_CAPITALS = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_VALUES = str.maketrans(
    {letter: str(10 + index) for index, letter in enumerate(string.ascii_uppercase)} | dict.fromkeys(_SEPARATORS, "")
)
_CHECK_DIGITS = 97
"""The modulus of an IBAN's check digits (ISO 13616)."""

_NEEDED = {
    "IP_ADDRESS": re.compile(r"[0-9]\.[0-9]|:[0-9A-Fa-f]{0,4}:"),
    "MAC_ADDRESS": re.compile(r"[-:.]"),
    "MEDICAL_LICENSE": re.compile(r"\d{7}"),
    "UK_NINO": re.compile(r"[^\W\d_]"),
    "ES_NIF": re.compile(r"[0-9]{7}-?[^\W\d_]"),
    "IT_FISCAL_CODE": re.compile(r"[^\W\d_]{6}\w{10}"),
    "SG_NRIC_FIN": re.compile(r"[0-9]{7}[^\W\d_]"),
}
"""What every match of a kind has in it: a text without any is not searched for that kind."""


_SURELY_VALID = {
    "IP_ADDRESS": re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!$)|$)){4}"),
    "US_SSN": re.compile(r"(?!000|666|123-|987-|078-|([0-9])\1\1-\1\1-\1{4})[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}"),
}
"""Matches of a kind that the library, which takes its time, does not invalidate."""


class Patterned:
    """The matches of a library's recogniser, found by its patterns and checksums.

    The library's own loop explains each match at length, which costs most of its time and which nobody reads.
    """

    def __init__(self, library: _Library) -> None:
        self._library = library
        self.supported_entities = library.supported_entities
        self.context = library.context
        self._entity = library.supported_entities[0]
        engine: Any = importlib.import_module("regex")  # the library's own, which its patterns are written for
        flags = library.global_regex_flags
        self._patterns = [(engine.compile(each.regex, flags=flags), float(each.score)) for each in library.patterns]
        self._is_checked = _is_overridden(library, "validate_result")
        self._needed = _NEEDED.get(self._entity)
        self._surely_valid = _SURELY_VALID.get(self._entity)

    def analyze(self, text: str, score_min: float) -> Sequence[Found]:
        """See `Recognizer.analyze`. A match inside another one of at least its score is left out."""
        if self._needed is not None and not self._needed.search(text):
            return ()
        found: list[Found] = []
        scores: dict[tuple[str, float], float] = {}
        for pattern, score in self._patterns:
            if score < score_min and not self._is_checked:
                continue
            for match in pattern.finditer(text):
                start, end = match.span()
                key = (match.group(), score)
                known = scores.get(key)
                if known is None:
                    known = scores[key] = self._score(*key)
                if known:
                    found.append(Found(start, end, known, self._entity))
        return _widest(found) if len(self._patterns) > 1 else found  # one pattern's matches do not overlap

    def _score(self, matched: str, score: float) -> float:
        """Return the score of what a pattern matched: 1 if its checksum holds, 0 if it does not or is implausible."""
        if self._surely_valid is not None and self._surely_valid.fullmatch(matched):
            return score
        if not matched or self._library.invalidate_result(matched):
            return 0.0
        is_valid = self._library.validate_result(matched)
        return score if is_valid is None else float(is_valid)


def _is_overridden(library: _Library, name: str) -> bool:
    """Return whether a recogniser has a checksum of its own; of the base class all have one that never tells."""
    base = next(each for each in type(library).__mro__ if each.__name__ == "PatternRecognizer")
    return vars(library).get(name, getattr(type(library), name)) is not getattr(base, name)


def _widest(found: list[Found]) -> Sequence[Found]:
    """Return the matches without those inside another one of at least their score."""
    if len(found) < 2:
        return found
    kept: list[Found] = []
    around: list[Found] = []
    for match in sorted(set(found), key=lambda one: (one.start, -one.end, -one.score)):
        around = [one for one in around if one.end > match.start]
        if not any(one.end >= match.end and one.score >= match.score for one in around):
            kept.append(match)
            around.append(match)
    return kept


class Libraries(NamedTuple):
    """The library's own recognisers, as `Recognizers` has them; `capitals` is a short one that reads capitals only."""

    long: tuple[Any, ...]
    short: tuple[Any, ...]
    capitals: Any


def load_recognizers() -> Recognizers:
    """Load all recognisers but the one for telephone numbers. Takes about half a second, once per process."""
    long, short, capitals = load_library()
    return Recognizers(long=tuple(map(Patterned, long)), short=(*map(Patterned, short), AccountNumbers(capitals)))


def load_library() -> Libraries:
    """Load what `load_recognizers` makes its recognisers of."""
    with _light_package() as core:
        pattern = vars(core)["Pattern"]
        email = _new("generic.email_recognizer", "EmailRecognizer", patterns=[pattern("email", _EMAIL, 0.5)])
        vars(email)["validate_result"] = _always_undecided
        url = _new("generic.url_recognizer", "UrlRecognizer", patterns=[pattern("url", _URL, 0.6)])
        card = _new(
            "generic.credit_card_recognizer",
            "CreditCardRecognizer",
            patterns=[pattern("card", _CARD, 0.3)],
            replacement_pairs=_REPLACED,
        )
        iban = _new(
            "generic.iban_recognizer",
            "IbanRecognizer",
            patterns=[pattern("iban", _IBAN, 0.5)],
            replacement_pairs=_REPLACED,
        )
        others = (_new(module, name) for module, name in _RECOGNIZERS)
        return Libraries(long=(email, url), short=(card, *others), capitals=iban)


def _always_undecided(pattern_text: str) -> None:
    del pattern_text


def _new(module: str, name: str, **options: object) -> Any:
    return getattr(importlib.import_module(f"{_PACKAGE}.predefined_recognizers.{module}"), name)(**options)


@contextmanager
def _light_package() -> Generator[ModuleType]:
    """Provide the package with its core classes only while the context lasts; the real one if it is loaded already."""
    loaded = sys.modules.get(_PACKAGE)
    if loaded is not None:
        yield loaded
        return
    try:
        yield _build_shells()
    finally:
        # A later import of presidio_analyzer gets all of it.
        for name in [name for name in sys.modules if name == _PACKAGE or name.startswith(_PACKAGE + ".")]:
            del sys.modules[name]


def _build_shells() -> ModuleType:
    found = importlib.util.find_spec(_PACKAGE)
    assert found is not None, "presidio-analyzer is a dependency"
    assert found.origin is not None, "presidio-analyzer is a package"
    root = Path(found.origin).parent
    core = _shell(_PACKAGE, root)
    for module, name in _CORE:
        setattr(core, name, getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name))
    # Named in annotations only.
    vars(_shell(f"{_PACKAGE}.nlp_engine", root / "nlp_engine"))["NlpArtifacts"] = object
    countries = tuple(f"predefined_recognizers.country_specific.{country}" for country in _COUNTRIES)
    for shell in (*_SHELLS, *countries):
        _shell(f"{_PACKAGE}.{shell}", root.joinpath(*shell.split(".")))
    return core


def _shell(name: str, path: Path) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = [str(path)]
    sys.modules[name] = module
    return module
