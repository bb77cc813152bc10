"""The probes of the language models: `GET /models` is answered and lists the model that settings name.

Of the generator, somebody must also say the marks of its turns.
"""

import asyncio
import ssl
from collections.abc import Iterator

import aiohttp
import msgspec
from msgspec import Struct

from topology.contract.errors import RetryLater, SettingsError
from workers.commands.check.failures import TlsKeys, in_words, tls_mend
from workers.commands.check.probe import Line, ok, unused, wrong
from workers.commands.console.terminal import printable
from workers.settings import Settings
from workers.settings.secret import Secret
from workers.stages.turn_marks import CURES, find_turn_marks

BODY_BYTES_MAX = 1024 * 1024
MODELS_SHOWN = 5
NAME_CHARACTERS_MAX = 80


class _Target(Struct, frozen=True, kw_only=True):
    """An endpoint, and the names of its settings."""

    what: str
    base_url: str
    model: str
    api_key: Secret
    url_setting: str
    model_setting: str
    key_setting: str


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


def probe_generator(settings: Settings, timeout_s: float) -> Iterator[Line]:
    """Check the endpoint of the generator."""
    asked = settings.generation
    target = _Target(
        what="model",
        base_url=asked.base_url,
        model=asked.model,
        api_key=asked.api_key,
        url_setting="generation.base_url",
        model_setting="generation.model",
        key_setting="generation.api_key_file",
    )
    if not asked.base_url:
        yield wrong("model", "no endpoint is set", "set generation.base_url")
        return
    yield asyncio.run(_probed(target, timeout_s))


def probe_turn_marks(settings: Settings, timeout_s: float) -> Iterator[Line]:
    """Check that somebody says the marks of the generator's turns."""
    what = "turn marks"
    try:
        found = find_turn_marks(settings.generation, timeout_s)
    except SettingsError as exc:
        yield wrong(what, f"{exc.key} is {exc.shown}", f"{exc.key}: {exc.allowed}")
    except RetryLater:
        yield wrong(what, f"only its server could say those of {settings.generation.model!r}, and it is away", CURES)
    else:
        yield ok(what, f"{len(found.marks)} said by {found.source}, beside the general ones")


def probe_guard(settings: Settings, timeout_s: float) -> Iterator[Line]:
    """Check the endpoint of the guard LLM, if the settings name one."""
    asked = settings.guard
    if not asked.judge_base_url:
        yield unused("guard LLM", "guard.judge_base_url is empty: the embedded guard works alone")
        return
    if not asked.judge_model:
        yield wrong("guard LLM", "an endpoint is set, but no model", "set guard.judge_model")
    target = _Target(
        what="guard LLM",
        base_url=asked.judge_base_url,
        model=asked.judge_model,
        api_key=asked.judge_api_key,
        url_setting="guard.judge_base_url",
        model_setting="guard.judge_model",
        key_setting="guard.judge_api_key_file",
    )
    yield asyncio.run(_probed(target, timeout_s))


async def _probed(target: _Target, timeout_s: float) -> Line:
    key = target.api_key.reveal()
    if not (key.isascii() and key.isprintable()):
        found = "its key cannot be sent: not printable ASCII, or with a line break"
        return wrong(target.what, found, f"check the file of {target.key_setting}")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = target.base_url.rstrip("/") + "/models"
    try:
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(headers=headers) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            return _answered(target, response.status, await _read(response.content))
    except TimeoutError:
        return wrong(
            target.what,
            f"{url}: no answer within {timeout_s:.1f} s",
            f"is {target.url_setting} right, and the server up?",
        )
    except aiohttp.ClientError as exc:
        return _unreached(target, url, exc)


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read the body; empty if it is too long."""
    body = b""
    async for piece in content.iter_any():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            return b""
    return body


def _unreached(target: _Target, url: str, error: aiohttp.ClientError) -> Line:
    start = f"start the server, or set {target.url_setting}"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            cause = error.certificate_error
        case aiohttp.ClientConnectorError():
            cause = error.os_error
        case aiohttp.ClientConnectionError():
            return wrong(
                target.what, f"{url}: the connection was closed without an answer", f"{start}: does it speak HTTP?"
            )
        case _:
            return wrong(
                target.what, f"{url}: the answer is not HTTP ({type(error).__name__})", f"set {target.url_setting}"
            )
    mend = tls_mend(cause, TlsKeys(), f"{start}: http or https?") if isinstance(cause, ssl.SSLError) else start
    return wrong(target.what, f"{url}: {in_words(cause)}", mend)


def _answered(target: _Target, status: int, body: bytes) -> Line:
    url = f"{target.base_url.rstrip('/')}/models"
    if status in {401, 403}:
        return wrong(target.what, f"{url}: HTTP {status}, the key is not accepted", f"set {target.key_setting}")
    if status == 404:
        return wrong(target.what, f"{url}: HTTP 404", f"{target.url_setting} usually ends in /v1")
    if status != 200:
        return wrong(target.what, f"{url}: HTTP {status}", f"read the server's log, or set {target.url_setting}")
    try:
        served = [model.id for model in msgspec.json.decode(body, type=_Models).data]
    except (msgspec.DecodeError, UnicodeDecodeError):
        mend = f"set {target.url_setting} to an OpenAI-compatible endpoint"
        return wrong(target.what, f"{url}: the answer is not a list of models", mend)
    if target.model in served:
        return ok(target.what, f"{target.base_url} serves {target.model}")
    names = ", ".join(printable(name, NAME_CHARACTERS_MAX) for name in served[:MODELS_SHOWN]) or "none"
    more = f" and {len(served) - MODELS_SHOWN} more" if len(served) > MODELS_SHOWN else ""
    found = f"{target.base_url} does not serve {target.model!r}; it serves {names}{more}"
    return wrong(target.what, found, f"set {target.model_setting} to one of them, or load the model")
