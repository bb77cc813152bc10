"""One engine for all tests of the chart, and every case rendered once a session."""

from collections.abc import Iterator

import pytest

from tests.helm.cases import examples, tried
from tests.helm.engine import Document, Engine

Rendered = dict[str, list[Document]]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine() as started:
        yield started


@pytest.fixture(scope="session")
def rendered(engine: Engine) -> Rendered:
    """The objects of every example and combination that is tried, by name."""
    return {name: engine.render(values) for name, values in {**examples(), **tried()}.items()}
