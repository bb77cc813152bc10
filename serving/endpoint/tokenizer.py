"""What a model's server says of its tokenizer, over the endpoints that vLLM has beside the chat API, outside `/v1`.

`GET /tokenizer_info` gives the tokenizer's configuration if the server was started with it. `POST /tokenize` gives the
text of every token of a conversation under the model's chat template, or of a plain text. Ray Serve LLM takes only the
latter.
"""

import asyncio
from collections.abc import Collection, Mapping

import aiohttp
import msgspec
from msgspec import Struct

from serving.endpoint.outcomes import CAUGHT, outcome_of_error, outcome_of_status
from serving.endpoint.transport import fixed_headers
from topology.contract.errors import RetryLater
from topology.contract.labels import Outcome
from topology.contract.names import LlmRole

BODY_BYTES_MAX = 8 * 1024 * 1024
"""The longest answer that is read; a longer one says nothing."""

_AWAY = frozenset({Outcome.OVERLOADED, Outcome.UNREACHABLE, Outcome.TIMEOUT})
_SYSTEM = {"role": "system", "content": "Be brief"}
_TURNS = (
    {"role": "user", "content": "Is the bridge open"},
    {"role": "assistant", "content": "It is"},
    {"role": "user", "content": "Thank you"},
)


class TokenizerAnswer(Struct, frozen=True, kw_only=True):
    """What a server said; a part that it does not tell is empty. `known` are those texts that are one token each."""

    configuration: bytes = b""
    conversation: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()


class _Tokenized(Struct):
    """The answer of `POST /tokenize`."""

    token_strs: tuple[str, ...] | None = None


async def ask_tokenizer(
    base_url: str, model: str, texts: Collection[str], *, api_key: str, timeout_s: float
) -> TokenizerAnswer:
    """Ask the server of `model` at `base_url`, which is that of the chat API, for its tokenizer and for `texts`.

    Raises RetryLater if the server cannot answer now, within `timeout_s` for all requests together.
    """
    root = base_url.rstrip("/").removesuffix("/v1")
    headers = fixed_headers(api_key) | {"Accept": "application/json"}
    try:
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(headers=headers, auto_decompress=False) as session,
        ):
            configuration = await _body(session, "GET", f"{root}/tokenizer_info")
            conversation = await _tokens(session, root, model, {"messages": (_SYSTEM, *_TURNS)})
            # Some templates refuse a system message.
            conversation = conversation or await _tokens(session, root, model, {"messages": _TURNS})
            tokens = await _tokens(session, root, model, {"prompt": "\n".join(texts)})
    except CAUGHT as exc:
        raise RetryLater(outcome_of_error(exc), LlmRole.GENERATOR.value, f"{root}: {type(exc).__name__}") from exc
    return TokenizerAnswer(
        configuration=configuration, conversation=conversation, known=frozenset(tokens).intersection(texts)
    )


async def _tokens(
    session: aiohttp.ClientSession, root: str, model: str, asked: Mapping[str, object]
) -> tuple[str, ...]:
    """Return the text of every token; empty if the server does not tell it."""
    body = msgspec.json.encode({"model": model, "return_token_strs": True, **asked})
    answer = await _body(session, "POST", f"{root}/tokenize", body)
    try:
        return msgspec.json.decode(answer, type=_Tokenized).token_strs or ()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()


async def _body(session: aiohttp.ClientSession, method: str, url: str, body: bytes | None = None) -> bytes:
    """Return the body of an answer; empty if the server does not offer this."""
    async with session.request(method, url, data=body, allow_redirects=False) as response:
        if response.status != 200:
            outcome = outcome_of_status(response.status)
            if outcome in _AWAY:
                raise RetryLater(outcome, LlmRole.GENERATOR.value, f"{url}: HTTP {response.status}")
            return b""
        content = b""
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > BODY_BYTES_MAX:
                return b""
        return content
