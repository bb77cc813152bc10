"""The one table that maps reports of HTTP and its library to what the worker does about them."""

import ssl

import aiohttp
from aiohttp import http_exceptions

from serving.endpoint.stream_errors import StreamError
from topology.contract.labels import Outcome

ERRORS: tuple[tuple[type[BaseException], Outcome], ...] = (
    # The first row that fits wins, so a class comes before its parents.
    (aiohttp.ConnectionTimeoutError, Outcome.UNREACHABLE),  # no connection in time: nothing was sent
    (TimeoutError, Outcome.TIMEOUT),  # also aiohttp.SocketTimeoutError and ServerTimeoutError
    (aiohttp.ClientPayloadError, Outcome.CRASHED),  # the body stopped in the middle
    (aiohttp.ServerDisconnectedError, Outcome.UNREACHABLE),
    (aiohttp.ClientConnectionError, Outcome.UNREACHABLE),  # refused, DNS, reset, TLS, fingerprint
    (aiohttp.ClientResponseError, Outcome.UNPARSABLE),  # not HTTP, a redirect, a foreign content type
    (aiohttp.InvalidURL, Outcome.UNREACHABLE),
    (aiohttp.NonHttpUrlClientError, Outcome.UNREACHABLE),
    (aiohttp.RedirectClientError, Outcome.UNREACHABLE),
    (aiohttp.UploadAbortedError, Outcome.CRASHED),
    (http_exceptions.HttpProcessingError, Outcome.UNPARSABLE),
    (ssl.SSLError, Outcome.UNREACHABLE),
    (OSError, Outcome.UNREACHABLE),
)

CAUGHT = (aiohttp.ClientError, http_exceptions.HttpProcessingError, OSError, TimeoutError)
"""The errors that a call over this library may raise, cancellation apart."""

RETRYABLE = frozenset({Outcome.UNREACHABLE, Outcome.OVERLOADED, Outcome.CRASHED})
"""The outcomes worth another try inside the same call, as long as no byte of the answer has come."""

_STATUS = {
    401: Outcome.REFUSED,
    403: Outcome.REFUSED,
    404: Outcome.REFUSED,  # a model that is not served (yet): an operator can mend it
    407: Outcome.REFUSED,
    408: Outcome.TIMEOUT,
    421: Outcome.UNREACHABLE,
    425: Outcome.OVERLOADED,
    429: Outcome.OVERLOADED,
    499: Outcome.CRASHED,
    502: Outcome.UNREACHABLE,
    503: Outcome.OVERLOADED,
    504: Outcome.TIMEOUT,
    529: Outcome.OVERLOADED,
}


def outcome_of_error(error: BaseException) -> Outcome:
    """Return the outcome of the first row that fits. Raises KeyError for an error without a row."""
    if isinstance(error, StreamError):
        return Outcome.UNPARSABLE if error.status is None else outcome_of_status(error.status)
    for kind, outcome in ERRORS:
        if isinstance(error, kind):
            return outcome
    raise KeyError(type(error).__name__)


def outcome_of_status(status: int) -> Outcome:
    """Return the outcome of an HTTP status other than 200."""
    if status in _STATUS:
        return _STATUS[status]
    if 400 <= status <= 499:
        return Outcome.REFUSED
    return Outcome.CRASHED if 500 <= status <= 599 else Outcome.UNPARSABLE


def is_the_requests_fault(status: int) -> bool:
    """Return whether a healthy backend would refuse the same request again, for example as too long."""
    return 400 <= status <= 499 and status not in _STATUS
