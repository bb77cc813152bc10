"""Credentials: keys and tokens of well-known services, web tokens and private keys, by their documented form.

Services give their tokens a prefix so that they can be found. Nothing is guessed from randomness, so digests, commits
and identifiers stay. Made-up tokens, as documentation has them, do not count (docs/adr/0020).
"""

import base64
import json
import re
import string
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

API_KEY, WEB_TOKEN, PRIVATE_KEY = "API_KEY", "JSON_WEB_TOKEN", "PRIVATE_KEY"
CREDENTIALS = frozenset({API_KEY, WEB_TOKEN, PRIVATE_KEY})
CHARACTERS_MAX = 4_096
"""The longest credential that is read as a whole. RSA keys of 4,096 bits take 3,300 characters."""

_TOKENS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("AKIA", "ASIA"), r"[0-9A-Z]{16}"),  # Amazon Web Services
    (("AIza",), r"[\w-]{35}"),  # Google, and the next two
    (("GOCSPX-",), r"[\w-]{28}"),
    (("ya29.",), r"[\w-]{40,400}"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"[0-9A-Za-z]{36}"),  # GitHub, and the next one
    (("github_pat_",), r"[0-9A-Za-z]{22}_[0-9A-Za-z]{59}"),
    (
        ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "gloas-"),
        r"[\w-]{20,64}(?:\.[\w-]{2,40}){0,2}",
    ),
    (("xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-"), r"(?:\d{6,}-){1,4}[0-9A-Za-z]{12,}"),  # Slack
    (("xapp-",), r"\d-[0-9A-Z]{8,}-\d{8,}-[0-9a-f]{32,}"),
    (("hooks.slack.com/services/",), r"T[0-9A-Z]{7,}/B[0-9A-Z]{7,}/[0-9A-Za-z]{20,}"),
    (("sk_live_", "rk_live_", "whsec_"), r"[0-9A-Za-z]{24,250}"),  # Stripe
    (("sk-ant-",), r"[a-z]{2,8}\d\d-[\w-]{80,120}"),  # Anthropic
    (("sk-or-v1-",), r"[0-9a-f]{64}"),  # OpenRouter
    (("sk-proj-", "sk-svcacct-", "sk-admin-"), r"[\w-]{40,250}"),  # OpenAI, and servers that speak its protocol
    (("sk-",), r"(?=[A-Za-z]{0,63}\d)[0-9A-Za-z]{32,64}"),
    (("hf_",), r"[0-9A-Za-z]{34}"),  # Hugging Face
    (("gsk_",), r"[0-9A-Za-z]{52}"),  # Groq
    (("xai-",), r"[0-9A-Za-z]{80}"),
    (("pplx-",), r"[0-9A-Za-z]{48}"),  # Perplexity
    (("r8_",), r"[0-9A-Za-z]{37}"),  # Replicate
    (("nvapi-",), r"[\w-]{64}"),  # NVIDIA
    (("npm_",), r"[0-9A-Za-z]{36}"),
    (("pypi-AgE",), r"[\w-]{50,400}"),
    (("rubygems_",), r"[0-9a-f]{48}"),
    (("dckr_pat_",), r"[\w-]{27}"),  # Docker
    (("SK", "AC"), r"[0-9a-f]{32}"),  # Twilio
    (("SG.",), r"[\w-]{22}\.[\w-]{43}"),  # SendGrid
    (("dop_v1_", "doo_v1_", "dor_v1_"), r"[0-9a-f]{64}"),  # DigitalOcean
    (("shpat_", "shpca_", "shppa_", "shpss_"), r"[0-9A-Fa-f]{32}"),  # Shopify
    (("sq0atp-", "sq0csp-"), r"[\w-]{22,43}"),  # Square
    (("dapi",), r"[0-9a-f]{32}"),  # Databricks
    (("glsa_",), r"[0-9A-Za-z]{32}_[0-9A-Fa-f]{8}"),  # Grafana
    (("hvs.", "hvb."), r"[\w-]{24,300}"),  # Vault
    (("ATATT3",), r"[\w-]{100,300}(?:=[0-9A-F]{8})?"),  # Atlassian
    (("lin_api_",), r"[0-9A-Za-z]{40}"),  # Linear
    (("figd_",), r"[\w-]{40}"),  # Figma
    (("PMAK-",), r"[0-9a-f]{24}-[0-9a-f]{34}"),  # Postman
    (("NRAK-",), r"[0-9A-Z]{27}"),  # New Relic
    (("dp.pt.", "dp.st."), r"(?:[\w-]{2,35}\.)?[0-9A-Za-z]{40,44}"),  # Doppler
    (("tskey-",), r"[a-z]{3,8}-[0-9A-Za-z]{10,20}-[0-9A-Za-z]{20,40}"),  # Tailscale
    (("AGE-SECRET-KEY-1",), r"[0-9A-Z]{58}"),
    (("AccountKey=", "SharedAccessKey="), r"[0-9A-Za-z+/]{42,88}={1,2}"),  # Azure
)
"""Prefixes of tokens, and what follows one, as the services' own documents give them."""

_FORMS = tuple(
    (prefix, re.compile(rf"{re.escape(prefix)}({rest})(?![0-9A-Za-z_])", re.ASCII))
    for prefixes, rest in _TOKENS
    for prefix in prefixes
)
_NAMED = (
    (  # the secret half of an AWS key has no prefix, but the name of its setting stands before it
        ("cret", "CRET"),
        re.compile(
            r"(?:secret_?access_?key|aws_?secret_?key)[\"']?[ \t]{0,4}(?:=>|:=|[:=])[ \t]{0,4}[\"']?"
            r"([0-9A-Za-z/+]{40})(?![0-9A-Za-z/+=])",
            re.IGNORECASE,
        ),
    ),
    ((":AA",), re.compile(r"(?<![0-9A-Za-z])[0-9]{8,10}:(AA[0-9A-Za-z_-]{33})(?![0-9A-Za-z_-])")),  # Telegram's bots
    (("-us",), re.compile(r"(?<![0-9A-Za-z])([0-9a-f]{32}-us[0-9]{1,2})(?![0-9A-Za-z])")),  # Mailchimp
)
"""Tokens without a prefix: what every one of them contains, and their forms."""

_JWT_START = "eyJ"
_JWT = re.compile(r"(eyJ[\w-]{8,})\.(eyJ[\w-]{4,})\.((?!eyJ)[\w-]{20,})(?![\w-])", re.ASCII)
_PEM = re.compile(r"-----(BEGIN|END) (?:[0-9A-Z]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_LINES = re.compile(r"(?:(?:\s|\\[nr])+[0-9A-Za-z+/]{32,}={0,2})+")
_PEM_LINE = re.compile(r"[0-9A-Za-z+/=]{32,}")
_PEM_LETTERS_MIN, _PEM_DISTINCT_MIN = 60, 20
"""The least that a key holds: one of Ed25519 has 64 letters."""

_MADE_UP = re.compile(
    r"(.)\1{4}|12345|98765|abcde|your|placeholder|replace|changeme|redacted|dummy|sample|secret|token|goes|here",
    re.IGNORECASE,
)
_DISTINCT_MIN = 8
_PUBLISHED_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsu"
"""The key of Azure's storage emulator begins so."""

_PUBLISHED_SUBJECT = "1234567890"
"""The subject of the token that introductions to JSON Web Tokens show."""


class Credential(NamedTuple):
    """A credential that was found: [start, end) in characters of the text, and its label."""

    start: int
    end: int
    label: str


def credentials(text: str) -> Iterator[Credential]:
    """Yield the credentials of a text, kind by kind."""
    for prefix, form in _FORMS:
        if prefix in text:
            yield from _tokens(text, prefix, form)
    for parts, form in _NAMED:
        if any(part in text for part in parts):
            yield from _drawn(form.finditer(text))
    for at in _starts(text, _JWT_START):
        if (found := _JWT.match(text, at)) and "alg" in _object(found[1]) and _object(found[2]):
            yield Credential(*found.span(), WEB_TOKEN)
    yield from _private_keys(text)


def is_published(text: str, label: str) -> bool:
    """Return whether a credential is one that documentation shows to everybody."""
    if label == WEB_TOKEN:
        return _object(text.split(".")[1]).get("sub") == _PUBLISHED_SUBJECT
    return _PUBLISHED_KEY in text or "example" in text.lower()


_WORD = frozenset(string.ascii_letters + string.digits + "_-")


def _tokens(text: str, prefix: str, form: re.Pattern[str]) -> Iterator[Credential]:
    return _drawn(found for at in _starts(text, prefix) if (found := form.match(text, at)))


def _drawn(matches: Iterable[re.Match[str]]) -> Iterator[Credential]:
    return (Credential(*found.span(), API_KEY) for found in matches if not _is_made_up(found[1]))


def _starts(text: str, prefix: str) -> Iterator[int]:
    """Yield where a prefix begins a word. `str.find` passes over a text a hundred times as fast as a pattern."""
    at = text.find(prefix)
    while at >= 0:
        if at == 0 or text[at - 1] not in _WORD:
            yield at
        at = text.find(prefix, at + len(prefix))


def _is_made_up(token: str) -> bool:
    """Return whether a token was typed rather than drawn: repeats, rows of digits, words."""
    if len(set(token)) < _DISTINCT_MIN or _MADE_UP.search(token):
        return True
    return not any(letter.isdigit() for letter in token) and not token.isalpha()


def _object(part: str) -> dict[str, object]:
    """Return the JSON object that a part of a web token spells; an empty one if there is none."""
    try:
        found = json.loads(base64.urlsafe_b64decode(part[:CHARACTERS_MAX] + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _private_keys(text: str) -> Iterator[Credential]:
    marks = list(_PEM.finditer(text))
    for mark, following in pairwise([*marks, None]):
        if mark is None or mark[1] == "END":
            continue
        if following is not None and following[1] == "END":
            body, end = text[mark.end() : following.start()], following.end()
        else:  # cut off before its end
            lines = _PEM_LINES.match(text, mark.end())
            body, end = (lines.group(), lines.end()) if lines else ("", mark.end())
        letters = "".join(_PEM_LINE.findall(body))
        is_whole = "..." not in body and "\u2026" not in body
        if is_whole and len(letters) >= _PEM_LETTERS_MIN and len(set(letters)) >= _PEM_DISTINCT_MIN:
            yield Credential(mark.start(), end, PRIVATE_KEY)
