"""Errors that a model's server reports inside a stream that began well: their names and numbers, as HTTP statuses.

Servers spell them in many ways: a number, a number as text, a name in `code`, `type` or `status`, a text alone. Names
are compared without case and signs, so that `rate_limit_error`, `RateLimitError` and `RATE_LIMIT` are one.
"""

from collections.abc import Mapping
from typing import cast

_UNKNOWN = 500
_NAMING = ("code", "status", "status_code", "type")
"""The fields of an error that may name it; the first that does is believed."""

_NAMES = {
    "badrequest": 400,
    "invalidrequest": 400,
    "invalidargument": 400,
    "invalidprompt": 400,
    "invalidvalue": 400,
    "contextlengthexceeded": 400,
    "contentfilter": 400,
    "contentpolicyviolation": 400,
    "validation": 400,
    "authentication": 401,
    "invalidapikey": 401,
    "unauthenticated": 401,
    "unauthorized": 401,
    "forbidden": 403,
    "permission": 403,
    "permissiondenied": 403,
    "modelnotfound": 404,
    "notfound": 404,
    "requesttoolarge": 413,
    "unprocessableentity": 422,
    "insufficientquota": 429,
    "quotaexceeded": 429,
    "ratelimit": 429,
    "ratelimitexceeded": 429,
    "resourceexhausted": 429,
    "toomanyrequests": 429,
    "overloaded": 503,
    "engineoverloaded": 503,
    "serviceunavailable": 503,
    "unavailable": 503,
    "deadlineexceeded": 504,
    "timeout": 504,
}
"""Names that OpenAI, Azure, Anthropic, Google and vLLM use, without case, signs and a final `error`."""


class StreamError(Exception):
    """A stream that cannot become an answer. `args` is (what is wrong, HTTP status named by the endpoint or None)."""

    def __init__(self, problem: str, status: int | None = None) -> None:
        super().__init__(problem, status)
        self.problem = problem
        self.status = status


def status_of(error: object) -> int:
    """Return the HTTP status that an error of any shape names, or 500."""
    fields = fields_of(error)
    named = [fields.get(key) for key in _NAMING] if fields else [error]
    return next((status for value in named if (status := _status(value))), _UNKNOWN)


def fields_of(value: object) -> Mapping[str, object]:
    """Return the fields of a decoded JSON object; anything else has none."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _status(value: object) -> int:
    """Return the HTTP status that a code or a name says; 0 if it says none."""
    if isinstance(value, str):
        name = "".join(filter(str.isalnum, value.lower()[:64]))
        value = int(name) if name.isascii() and name.isdigit() else _NAMES.get(name.removesuffix("error"))
    return int(value) if isinstance(value, int | float) and 400 <= value <= 599 else 0
