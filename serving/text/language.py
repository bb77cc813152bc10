"""A text's language by its common words and its script. It is a cheap guess for wording, never for a verdict."""

import re
import unicodedata

CHARACTERS_MAX = 2_000
_WORD = re.compile(r"[^\W\d_]+")
_UNKNOWN = "und"
_HITS_MIN = 1
_COMMON = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the of and to is in that it you for how what i a my can do does are with this be",
        "de": "der die das und ist nicht ich ein eine wie zu was mit den es für kann auf im sie du",
        "fr": "le la les de des et est un une je que comment pour dans vous il pas du mon ce qui à",
        "es": "el la los de que y es en un una cómo por para con mi no se qué del las al como",
        "it": "il lo la gli di che è un una per come con non mi sono del della cosa si e i",
        "pt": "o a os as de que é um uma para como com não me do da em por eu se meu",
        "nl": "de het een en van is ik niet dat hoe voor met op te zijn wat mijn je die er",
    }.items()
}
_ACTIONS = "make get build write tell give kill steal ignore buy find sell use want need please who where when why your"
_TELLING = frozenset(word for words in (*_COMMON.values(), _ACTIONS.split()) for word in words if len(word) > 1)
_SCRIPTS = (
    ("HIRAGANA", "ja"),
    ("KATAKANA", "ja"),
    ("HANGUL", "ko"),
    ("CJK", "zh"),
    ("ARABIC", "ar"),
    ("CYRILLIC", "ru"),
    ("DEVANAGARI", "hi"),
    ("GREEK", "el"),
    ("HEBREW", "he"),
    ("THAI", "th"),
)


def language_of(text: str) -> str:
    """Return a two-letter code, or `und` if nothing tells the language. A script counts as its most common language."""
    start = text[:CHARACTERS_MAX].lower()
    letters = [letter for letter in start if letter.isalpha()]
    if not letters:
        return _UNKNOWN
    foreign = [letter for letter in letters if ord(letter) > 0x250]
    if 2 * len(foreign) > len(letters):
        return _by_script(foreign)
    words = _WORD.findall(start)
    counts = {code: sum(word in common for word in words) for code, common in _COMMON.items()}
    best = max(counts, key=lambda code: counts[code])
    return best if counts[best] >= _HITS_MIN else _UNKNOWN


def common_words(text: str) -> int:
    """Return how many different common words of any of the languages a text has, to tell which reading has sense."""
    return len(_TELLING.intersection(_WORD.findall(text.lower())))


def _by_script(letters: list[str]) -> str:
    names = " ".join(unicodedata.name(letter, "") for letter in letters[:200])
    return next((code for script, code in _SCRIPTS if script in names), _UNKNOWN)
