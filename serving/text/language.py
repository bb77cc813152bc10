"""A text's language by its common words and its script. It is a cheap guess for wording, never for a verdict."""

import re
import unicodedata
from collections import Counter

CHARACTERS_MAX = 2_000
_WORD = re.compile(r"[^\W\d_]+")
_UNKNOWN = "und"
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
"""Common words of the languages in which a reading is looked for that has sense."""
_MORE = {
    "en": "your or not but on at if so me have was from they don t s m when will would there no we",
    "de": "dem des einen einem einer dich dir mir mich sich wenn oder aber auch wir ihr nur noch bei von "
    "dass bitte bin hab",
    "fr": "au aux sur avec mais ou ne se si tu te ça c j ai qu l d n votre vos ma mes elle nous sans plus "
    "suis être cette",
    "es": "te tu su lo le si pero más o está muy ya yo me les sus este esta eso sin hay soy tengo puedo puede cuando",
    "it": "le ti tu l se ma ho ha hai anche più al alla nel nella questo questa cosa perché o ci della dei "
    "delle sei quando",
    "pt": "você não na no nas nos ou mas se te seu sua isso está tem ao à mais ele ela muito quando já "
    "também só lhe pra",
    "nl": "dat als maar ook om bij of aan naar heb hebt kan kun wil nog geen uit ben bent deze dit we wel "
    "er mij jou zo",
    "tr": "bir ve bu ne için mi mı mu mü de da ile çok ama ben sen bana sana nasıl var yok değil daha gibi "  # noqa: RUF001
    "o şey kadar beni seni her ya en olan olarak sonra bunu şu misin mısın diye hiç biri benim senin",  # noqa: RUF001
    "pl": "i w z na nie się do to jest że jak co o po za od ale mi mnie czy już tak dla tym ten tego jestem "
    "mam mój moja a by być może lub przez przy gdy jeśli ci cię ma są które który",
    "sv": "och att det är jag en ett som på inte av för med den har till hur vad om mig min du han hon kan "
    "vill så men de var ska här när från mitt dig din eller man sig utan också bara om",
    "hi": "hai hain mein main me ka ki ke ko se aur kya kaise nahi nahin mujhe mera meri mere tum aap aapko "
    "ye yeh woh wo bhi par ho hoon hu raha rahi rahe tha thi kar karna karo koi kuch bahut toh agar "
    "liye apne aapka ek hi na jo ab kaun uska uski unka tumhe lekin phir gaya kyun bata batao chahiye "
    "sakte sakta",
}
"""More common words, to tell one language from another. Hindi is the one in Latin letters."""
_LETTERS = {"de": "ß", "es": "ñ", "pl": "ąćęłńśźż", "pt": "ãõ", "sv": "å", "tr": "ğış"}
"""Letters that hardly any other of the languages has. Each counts as a word."""
_ACTIONS = "make get build write tell give kill steal ignore buy find sell use want need please who where when why your"
_TELLING = frozenset(word for words in (*_COMMON.values(), _ACTIONS.split()) for word in words if len(word) > 1)
_OFTEN = {code: _COMMON.get(code, frozenset()).union(words.split()) for code, words in _MORE.items()}
_SHARED = Counter(word for words in _OFTEN.values() for word in words)
_WEIGHTS = {code: {word: 1 / _SHARED[word] for word in words} for code, words in _OFTEN.items()}
"""What each language's words count. One that several languages have is divided among them."""
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
    words, signs = Counter(_WORD.findall(start)), Counter(letters)
    scores = {
        code: sum(weights.get(word, 0) * count for word, count in words.items())
        + sum(signs[letter] for letter in _LETTERS.get(code, ""))
        for code, weights in _WEIGHTS.items()
    }
    best = max(scores, key=lambda code: scores[code])
    return best if scores[best] > 0 else _UNKNOWN


def common_words(text: str) -> int:
    """Return how many different common words of any of the languages a text has, to tell which reading has sense."""
    return len(_TELLING.intersection(_WORD.findall(text.lower())))


def _by_script(letters: list[str]) -> str:
    names = " ".join(unicodedata.name(letter, "") for letter in letters[:200])
    return next((code for script, code in _SCRIPTS if script in names), _UNKNOWN)
