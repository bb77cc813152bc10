"""A request that the door does not let in: the HTTP status, and the error in OpenAI's form."""

from typing import Final

from topology.contract.errors import SluicegateError

INVALID: Final = "invalid_request_error"
NOT_ALLOWED: Final = "authentication_error"
FORBIDDEN: Final = "permission_error"
LIMITED: Final = "rate_limit_error"
FAILED: Final = "server_error"
"""The types of errors, as OpenAI's clients know them."""

NEVER_AGAIN: Final = {"x-should-retry": "false"}
"""The header by which OpenAI's clients are told not to repeat a request on their own."""


class Refusal(SluicegateError):
    """The end of a request without an event, or without an answer. `param` names the field, None if none is at fault.

    `args` is (status, code, message, param, kind, headers). The message holds nothing of what the client sent.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        kind: str = INVALID,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, code, message, param, kind, headers)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind
        self.headers = headers or {}

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"

    @property
    def error(self) -> dict[str, object]:
        """Return the error object of OpenAI's interface."""
        return {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}


def bad_field(param: str, wanted: str, code: str = "invalid_value") -> Refusal:
    """Return the refusal of a request whose field `param` is not what is wanted."""
    return Refusal(400, code, f"{param}: {wanted}", param)


def retry_after(seconds: float) -> dict[str, str]:
    """Return headers that name a wait, in both spellings that OpenAI's clients read."""
    whole = max(1, -int(-seconds // 1))
    return {"Retry-After": str(whole), "retry-after-ms": str(max(1, round(seconds * 1000)))}
