"""How `pytest -n 2` shares the tests out: what needs Ray or vLLM to one process, what needs a broker alone to another.

The rest, file by file, goes to whichever process is free: the other two shares mostly wait, and end at different times.
So Ray and vLLM are started once, as without `-n`, and each of the two processes has a broker of its own, which its
tests may kill. A file of tests stays in one process, with the fixtures of its own. Needs pytest-xdist, and does nothing
without.
"""

import re
from functools import cache
from typing import Any

import pytest

from tests.checkout import ROOT

MODELS, BROKERS = "models", "brokers"
"""The shares of the files that need Ray or vLLM, and of those that need a broker alone; in order of their length."""

_NEEDS = {MODELS: re.compile(r"\bmark\.(ray|vllm)\b"), BROKERS: re.compile(r"\bmark\.kafka\b")}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest shares first where tests are shared out."""
    if hasattr(config, "workerinput"):
        order = {MODELS: 0, BROKERS: 1}
        items.sort(key=lambda item: order.get(share_of(item.nodeid), len(order)))


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
    """Return the name of the share that a test belongs to: its file's path where it needs neither."""
    path = nodeid.partition("::")[0]
    return _needed(path) or path


@cache
def _needed(path: str) -> str:
    file = ROOT / path
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return next((share for share, marks in _NEEDS.items() if marks.search(text)), "")
