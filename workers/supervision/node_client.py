"""The client of a node's agent: its status, and a drain."""

import urllib.error
import urllib.request
from typing import Final

import msgspec

from topology.contract.errors import SluicegateError
from workers.settings import Settings
from workers.supervision.node_state import NodeStatus

TIMEOUT_S: Final = 10.0
ANYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
BODY_BYTES_MAX: Final = 4 * 1024 * 1024


class AgentError(SluicegateError):
    """An agent that does not answer, or refuses. `args` is one sentence."""


def agent_url(settings: Settings, given: str = "") -> str:
    """Return `given`, or else where an agent with these settings listens on this machine."""
    if given:
        if not given.startswith(("http://", "https://")):
            raise AgentError(f"--url {given!r} does not begin with http:// or https://")
        return given.rstrip("/")
    if not settings.agent.port:
        raise AgentError("agent.port is 0, so there is no agent here; name another one with --url")
    host = "127.0.0.1" if settings.agent.host in ANYWHERE else settings.agent.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.agent.port}"


def node_status(url: str) -> NodeStatus:
    """Return what the agent says of its node. Raises AgentError."""
    body = _send(urllib.request.Request(f"{url}/status"))  # noqa: S310 - the operator names the address
    try:
        return msgspec.json.decode(body, type=NodeStatus)
    except msgspec.DecodeError as exc:
        raise AgentError(f"{url} answers, but not as an agent of this version: {exc}") from exc


def ask_to_drain(url: str, token: str) -> None:
    """Have the node finish its work and end. Raises AgentError if it refuses."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    _send(urllib.request.Request(f"{url}/drain", method="POST", headers=headers))  # noqa: S310


def _send(request: urllib.request.Request) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return answer.read(BODY_BYTES_MAX)
    except urllib.error.HTTPError as exc:
        raise AgentError(f"{request.full_url}: {exc.code}, {exc.read(1000).decode(errors='replace').strip()}") from exc
    except (urllib.error.URLError, TimeoutError, ConnectionError) as exc:
        reason = getattr(exc, "reason", exc)
        place = request.full_url.rpartition("/")[0]
        if isinstance(reason, ConnectionRefusedError):
            question = "is `sluicegate run` up on this machine? --url names another"
            raise AgentError(f"nothing listens at {place}: {question}") from exc
        why = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
        raise AgentError(f"no agent answers at {place}: {why}") from exc
