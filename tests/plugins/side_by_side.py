"""How `pytest -n 2` shares the tests out: what needs a broker, Ray or vLLM in one process, everything else in others.

So each of the three is started once a session, as without `-n`, and unit tests run while that process waits for them.
A file of tests stays in one process, with the fixtures of its own. Needs pytest-xdist, and does nothing without.
"""

import re
from functools import cache
from typing import Any

import pytest

from tests.checkout import ROOT

SERVICES = "services"
"""The share of whatever needs a service."""

_NEEDS = re.compile(r"\bmark\.(kafka|ray|vllm)\b")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what needs a service first where tests are shared out: it takes longest."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: share_of(item.nodeid) != SERVICES)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share out by what is needed, in the order of collection."""
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        """The library's scheduler, whose scopes are shares."""

        def _split_scope(self, nodeid: str) -> str:
            return share_of(nodeid)

    config.option.loadscopereorder = False
    return Shares(config, log)


def share_of(nodeid: str) -> str:
    """Return the name of the share that a test belongs to."""
    path = nodeid.partition("::")[0]
    return SERVICES if _needs_service(path) else path


@cache
def _needs_service(path: str) -> bool:
    return bool(_NEEDS.search((ROOT / path).read_text(encoding="utf-8")))
