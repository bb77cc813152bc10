"""One streamed request over HTTP: a completion, or a Failure from the table. No retry, no deadline, no breaker.

It uses aiohttp rather than httpx: with 32 streams in flight on one core, a chunk of a streamed answer costs 9 µs of
CPU against 50 µs (docs/serving.md), and every chunk of every answer passes here.
"""

import os
import re
import ssl
import urllib.parse
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import aiohttp

from serving.endpoint.completion import Completion, CompletionStream
from serving.endpoint.outcomes import CAUGHT, RETRYABLE, is_the_requests_fault, outcome_of_error, outcome_of_status
from serving.endpoint.stream_errors import StreamError
from topology.contract.errors import SettingsError
from topology.contract.labels import Outcome
from topology.ports import Clock, OnText

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_REQUEST_ID_SAFE = "-._~:/@+"


class Failure(Exception):
    """A failed request; it stays inside `serving`. `args` is (outcome, detail).

    `is_final`: a healthy backend would refuse the same request again. `may_retry`: worth another try at once, because
    no part of an answer had come. `after_s`: how long the backend asked not to be called; 0 if it did not say.
    """

    def __init__(
        self, outcome: Outcome, detail: str, *, is_final: bool = False, may_retry: bool = False, after_s: float = 0.0
    ) -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail
        self.is_final = is_final
        self.may_retry = may_retry and outcome in RETRYABLE
        self.after_s = after_s


class Stopped(Exception):
    """The receiver of an answer's text raised an error; it stays inside `serving`. `args` is (the error,)."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Transport:
    """The transport to one URL over kept connections. It belongs to one event loop, in which it connects lazily.

    No proxy is taken from the environment and no redirect is followed: either would carry the prompt and the key
    elsewhere. Bodies are asked for, and read, uncompressed, so that the size bound holds.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        api_key: str,
        tls: ssl.SSLContext | None,
        connect_timeout_s: float,
        connections_max: int,
        response_bytes_max: int,
    ) -> None:
        self._url = url
        self._clock = clock
        self._tls = tls
        self._connect_timeout_s = connect_timeout_s
        self._connections_max = connections_max
        self._response_bytes_max = response_bytes_max
        self._fixed_headers = fixed_headers(api_key)
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close every connection; running requests fail as unreachable."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, payload: bytes, headers: dict[str, str], on_text: OnText | None = None) -> Completion:
        """Return the whole answer to one request; `on_text` is awaited with each piece of its text.

        Raises Failure, and Stopped if `on_text` raises; that, or cancelling, closes the connection.
        """
        sent_s = self._clock.monotonic_s()
        try:
            posted = self._open_session().post(self._url, data=payload, headers=headers, allow_redirects=False)
            async with posted as response:
                if response.status != 200:
                    raise self._refusal(response)
                return await self._read(response.content, sent_s, on_text)
        except CAUGHT as exc:
            raise Failure(outcome_of_error(exc), _problem(exc), may_retry=True) from exc

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections_max, ssl=True if self._tls is None else self._tls
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s),
                headers=self._fixed_headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    def _refusal(self, response: aiohttp.ClientResponse) -> Failure:
        status = response.status
        return Failure(
            outcome_of_status(status),
            f"HTTP {status}",
            is_final=is_the_requests_fault(status),
            may_retry=True,
            after_s=retry_after_s(response.headers, self._clock.now_ms()),
        )

    async def _read(self, content: aiohttp.StreamReader, sent_s: float, on_text: OnText | None) -> Completion:
        stream = CompletionStream()
        received_bytes = 0
        first_chunk_s = 0.0
        try:
            async for piece in content.iter_any():
                first_chunk_s = first_chunk_s or self._clock.monotonic_s() - sent_s
                received_bytes += len(piece)
                if received_bytes > self._response_bytes_max:
                    detail = f"the answer is longer than {self._response_bytes_max} bytes"
                    raise Failure(Outcome.UNPARSABLE, detail, is_final=True)
                stream.feed(piece)
                if on_text is not None:
                    await _tell(on_text, stream.next_text())
            if on_text is not None:
                await _tell(on_text, stream.last_text())
            return stream.completion(first_chunk_s)
        except StreamError as exc:
            is_final = exc.status is not None and is_the_requests_fault(exc.status)
            raise Failure(outcome_of_error(exc), exc.problem, is_final=is_final) from exc
        except CAUGHT as exc:
            raise Failure(outcome_of_error(exc), _problem(exc), may_retry=received_bytes == 0) from exc


async def _tell(on_text: OnText, text: str) -> None:
    """Tell a piece of the text. Raises Stopped for whatever the receiver raises, which is no fault of the endpoint."""
    if not text:
        return
    try:
        await on_text(text)
    except Exception as exc:
        raise Stopped(exc) from exc


def _problem(error: BaseException) -> str:
    """Return an error's class, and the system's own words for its number; its message might quote what was sent."""
    number = error.errno if isinstance(error, OSError) else None
    words = f": {os.strerror(number).lower()}" if number is not None and number > 0 else ""
    return type(error).__name__ + words


def request_headers(request_id: str, try_index: int, extra: Mapping[str, str]) -> dict[str, str]:
    """Build the headers of one request. A further try has an id of its own, because an engine may still hold the first.

    Characters that could break out of a header are percent-encoded in the id; other headers that have them are omitted.
    """
    wire_id = urllib.parse.quote(request_id, safe=_REQUEST_ID_SAFE)
    headers = {name: value for name, value in extra.items() if _is_header_value(value)}
    headers["X-Request-Id"] = wire_id if try_index == 0 else f"{wire_id}.retry{try_index}"
    return headers


def fixed_headers(api_key: str) -> dict[str, str]:
    """Return the headers of every request to a server. Raises SettingsError for a key that no header can carry."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "User-Agent": "sluicegate",
    }
    if api_key:
        if not _is_header_value(api_key):
            raise SettingsError("api_key", "***", "printable ASCII without line breaks")
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


def _is_header_value(value: str) -> bool:
    return value.isascii() and value.isprintable()


def retry_after_s(headers: Mapping[str, str], now_ms: int) -> float:
    """Return for how many seconds the backend asks not to be called, in any of the forms in use; 0 if it does not.

    RFC 9110, section 10.2.3, knows whole seconds and dates. Some servers send fractions, or `retry-after-ms` beside it.
    """
    exact_s = _number(headers.get("retry-after-ms", "")) / 1000
    value = headers.get("Retry-After", "").strip()
    after_s = exact_s or _number(value)
    if after_s:
        return after_s
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_ms / 1000)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _number(value: str) -> float:
    """Return a decimal number without sign, or 0."""
    found = _NUMBER.fullmatch(value.strip())
    return float(found[0]) if found else 0.0
