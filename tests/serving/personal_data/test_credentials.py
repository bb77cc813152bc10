"""Keys and tokens of services are found whole; digests, identifiers and made-up tokens are not."""

import base64
import hashlib
import json
import random
import string
import uuid
from collections.abc import Callable

import pytest

from serving.personal_data.credentials import (
    _MADE_UP,
    API_KEY,
    PRIVATE_KEY,
    WEB_TOKEN,
    credentials,
    is_published,
)
from serving.personal_data.private_data import PRIVATE, items, private_findings
from serving.personal_data.redaction import CUT, Redactor
from tests.proportion import is_in_proportion
from tests.serving.personal_data.test_private_data import BUNDLE, event
from topology.contract.events import Role
from topology.decision.judge import apply_redactions

REDACTOR = Redactor(lambda _text: "", region="US")
DRAW = random.Random(11)
LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def drawn(length: int, letters: str = LETTERS) -> str:
    """Return random letters. What looks typed, as one in a thousand does, is drawn again."""
    while True:
        token = "".join(DRAW.choices(letters, k=length))
        if any(letter.isdigit() for letter in token) and not _MADE_UP.search(token):
            return token


def found_in(text: str) -> list[tuple[str, str]]:
    return [(text[start:end], label) for start, end, label in credentials(text)]


def web_token(subject: str) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": subject, "exp": 1_900_000_000})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, drawn(43)])


def private_key(kind: str, size: int) -> str:
    body = base64.b64encode(DRAW.randbytes(size)).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----"])


TOKENS: dict[str, Callable[[], str]] = {
    "AWS": lambda: f"AKIA{drawn(16, string.ascii_uppercase + '234567')}",
    "GitHub": lambda: f"ghp_{drawn(36)}",
    "GitHub, fine-grained": lambda: f"github_pat_{drawn(22)}_{drawn(59)}",
    "GitLab": lambda: f"glpat-{drawn(20)}",
    "Slack": lambda: f"xoxb-{drawn(11, '234567')}-{drawn(12, '234567')}-{drawn(24)}",
    "Slack's web hook": lambda: f"hooks.slack.com/services/T{drawn(9).upper()}/B{drawn(9).upper()}/{drawn(24)}",
    "Stripe": lambda: f"sk_live_{drawn(24)}",
    "OpenAI": lambda: f"sk-{drawn(20)}T3BlbkFJ{drawn(20)}",
    "OpenAI's project": lambda: f"sk-proj-{drawn(60)}",
    "Anthropic": lambda: f"sk-ant-api03-{drawn(93)}AA",
    "npm": lambda: f"npm_{drawn(36)}",
    "PyPI": lambda: f"pypi-AgEIcHlwaS5vcmc{drawn(150)}",
    "Twilio": lambda: f"SK{drawn(32, HEX)}",
    "SendGrid": lambda: f"SG.{drawn(22)}.{drawn(43)}",
    "Google": lambda: f"AIza{drawn(35)}",
    "Azure": lambda: f"AccountKey={drawn(86)}==",
    "Telegram": lambda: f"{drawn(10, '234567')}:AA{drawn(33)}",
    "Mailchimp": lambda: f"{drawn(32, HEX)}-us7",
}


@pytest.mark.parametrize("service", TOKENS)
def test_a_token_is_found_whole_in_sentences_settings_and_addresses(service: str) -> None:
    for _ in range(10):
        token = TOKENS[service]()
        for text in (f"Use {token}.", f'KEY="{token}"', f"{{'a': '{token}'}}", f"curl https://{token}@host/x", token):
            assert (token, API_KEY) in found_in(text)


def test_the_secret_half_of_an_aws_key_is_known_by_its_setting() -> None:
    secret = drawn(40)
    for text in (f"aws_secret_access_key = {secret}", f'"SecretAccessKey": "{secret}"', f"AWS_SECRET_KEY='{secret}'"):
        assert [text[-len(secret) - 2 :].strip("'\" ") in found for found, _ in found_in(text)] == [True]
    assert found_in(f"the commit is {secret}") == []


def test_a_web_token_is_one_whose_parts_can_be_read() -> None:
    token = web_token("a-user")
    assert found_in(f"Authorization: Bearer {token}") == [(token, WEB_TOKEN)]
    header, body, signature = token.split(".")
    broken = (f"{header}...", f"{header}.{body}", f"{header}.{body}...", f"eyJ{drawn(30)}.eyJ{drawn(30)}.{signature}")
    assert not [text for text in broken if found_in(text)]


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
def test_a_private_key_is_found_from_its_first_line_to_its_last(kind: str) -> None:
    for key in (private_key(kind, 48), private_key(kind, 1_200), private_key(kind, 1_200).replace("\n", "\\n")):
        assert found_in(f"save this: {key}\nand keep it") == [(key, PRIVATE_KEY)]
    whole = private_key(kind, 1_200)
    begun = whole[: whole.rindex("\n")]
    assert found_in(f"save this: {begun}") == [(begun, PRIVATE_KEY)]


@pytest.mark.parametrize(
    "text",
    [
        "client = OpenAI(api_key='sk-...')",
        "OPENAI_API_KEY=sk-proj-... or sk-YOUR_API_KEY",
        "sk-your-api-key-goes-here-1234567890",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "sk-1234567890abcdef1234567890abcdef",
        "export TOKEN=ghp_your_token_here # ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "AKIAXXXXXXXXXXXXXXXX",
        "xoxb-123456789012-1234567890123-a1b2c3d4e5f6g7h8i9j0k1l2",
        "a token looks like eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn4yg...\n-----END RSA PRIVATE KEY-----",
        "between -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY----- stands the key, in lines of base64 text",
        "task-0f8fad5bd9cb469fa16570867728950e and desk-top risk-averse ACCOUNT SKILLS",
        "npm_package_config_some_very_long_name_of_a_setting",
        "class='sk-fading-circle-1 sk-circle'",
    ],
)
def test_what_is_made_up_or_short_is_no_credential(text: str) -> None:
    assert found_in(text) == []
    assert items(text, event(), BUNDLE) == []


def test_digests_identifiers_and_pictures_are_no_credentials() -> None:
    for _ in range(100):
        content = DRAW.randbytes(90)
        shown = (
            str(uuid.UUID(int=DRAW.getrandbits(128))),
            hashlib.sha1(content, usedforsecurity=False).hexdigest(),
            hashlib.sha256(content).hexdigest(),
            f"data:image/png;base64,{base64.b64encode(content).decode()}",
            f"key-{hashlib.md5(content, usedforsecurity=False).hexdigest()}",
        )
        assert found_in(" ".join(shown)) == []


def test_audit_text_hides_credentials_and_what_was_cut_off_with_them() -> None:
    token, key = TOKENS["GitHub"](), private_key("PRIVATE KEY", 1_200)
    assert REDACTOR.redact(f"my key: {token}, thanks").redacted == "my key: <API_KEY>, thanks"
    assert REDACTOR.redact(f"{key}\n{web_token('x')}").redacted == "<PRIVATE_KEY>\n<JSON_WEB_TOKEN>"
    assert REDACTOR.redact(f"clone https://{token}@github.com/a/b").redacted == "clone <URL>"
    short = Redactor(lambda _text: "", region="US", text_characters_max=100)
    assert short.redact(f"{'a' * 60} {key} tail").redacted == f"{'a' * 60} <PRIVATE_KEY><{CUT}>"


def test_dashes_and_hidden_letters_do_not_hide_a_credential() -> None:
    token = TOKENS["OpenAI's project"]()
    written = token.replace("sk-proj-", "sk\u2011proj\u2011\u200b")
    assert REDACTOR.redact(f"it is {written} now").redacted == "it is <API_KEY> now"


def test_a_draft_s_credential_is_cut_out_as_the_gravest_private_data() -> None:
    token = TOKENS["GitHub"]()
    draft = f"Clone https://{token}@github.com/a/b with it."
    (finding,) = private_findings(draft, event(), BUNDLE)
    assert (finding.category, finding.harm, finding.detail_hi, finding.separable) == (PRIVATE, 3, 4, True)
    assert apply_redactions(draft, finding.spans) == "Clone https://[removed]@github.com/a/b with it."


def test_the_user_s_own_credential_may_be_said_again_and_a_system_prompt_s_may_not() -> None:
    token = TOKENS["Stripe"]()
    draft = f"Your key is {token}."
    assert items(draft, event((Role.USER, f"Put {token} into the file.")), BUNDLE) == []
    assert len(items(draft, event((Role.SYSTEM, f"The key is {token}."), (Role.USER, "hi")), BUNDLE)) == 1
    assert len(items(draft, event((Role.TOOL, token), (Role.USER, "hi")), BUNDLE)) == 1


@pytest.mark.parametrize(
    "token",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    ],
)
def test_what_every_introduction_shows_is_hidden_in_audit_text_and_stays_in_a_draft(token: str) -> None:
    ((found, label),) = found_in(f"as in {token} above")
    assert (found, is_published(found, label)) == (token, True)
    assert token not in REDACTOR.redact(f"as in {token} above").redacted
    assert items(f"as in {token} above", event(), BUNDLE) == []


UNITS = [
    "The fox rests and calls. ", "sk-", "sk-proj-a", "SKAC", " SK", "eyJa.", "eyJhbGciOiJIUzI1NiJ9.", "-",
    "-----BEGIN PRIVATE KEY-----", f"-----BEGIN PRIVATE KEY-----\n{'A' * 40}\n", "secret_access_key=", "1:AA", "a1",
    "ghp_" + "a1" * 18 + " ", "glpat-" + "a" * 60 + ".a.a.", "ATATT3=", "hooks.slack.com/services/T", "xoxb-1234567-",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_time_grows_with_length_only(unit: str) -> None:
    assert is_in_proportion(lambda text: list(credentials(text)), unit * (400_000 // len(unit)))
