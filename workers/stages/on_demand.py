"""A stage that is loaded when it is first needed."""

import threading
from collections.abc import Callable, Sequence

from topology.contract.drafts import CheckReport
from topology.ports import CheckInput, Stage


class OnDemandStage:
    """A stage that `build` makes for the first draft, which waits for it. `version` is what the made one will have."""

    def __init__(self, name: str, version: str, build: Callable[[], Stage]) -> None:
        self._name = name
        self._version = version
        self._build = build
        self._lock = threading.Lock()
        self._stage: Stage | None = None

    @property
    def name(self) -> str:
        """Return the stage's name."""
        return self._name

    @property
    def version(self) -> str:
        """Return the stage's version."""
        return self._version

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """See `Stage.run`. Raises what `build` raises; the next draft tries again."""
        with self._lock:  # a thread that was left behind may still be building it
            stage = self._stage = self._stage or self._build()
        return stage.run(batch)
