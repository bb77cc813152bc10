"""The health of a language model as its callers see it: whether it answers, and since when. No text of any call."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from msgspec import Struct

REASON_CHARACTERS_MAX: Final = 200


class ModelState(StrEnum):
    """A state of a model, as `sluicegate status` spells it."""

    UNASKED = "not asked yet"
    ANSWERS = "answers"
    UNREACHABLE = "unreachable"
    RESTING = "resting"
    """It asked to be left alone."""


class ModelHealth(Struct, frozen=True, kw_only=True):
    """A snapshot of a model. `for_s` is how long it has been in its state; `reason` is empty unless it failed.

    `rest_left_s` is how much longer it is left alone, 0 if it did not ask for that. `failed_count` counts the requests
    since the worker's start.
    """

    role: str
    model: str
    address: str
    state: ModelState
    for_s: float
    reason: str = ""
    rest_left_s: float = 0.0
    failed_count: int = 0

    @property
    def is_well(self) -> bool:
        """Return whether it may be asked."""
        return self.state in {ModelState.ANSWERS, ModelState.UNASKED}


class ModelWatch:
    """The observer of one model's calls; `health` may be called from any thread.

    `rest_left_s` says how much longer the model is left alone at its own request, `monotonic_s` is a clock.
    """

    def __init__(
        self,
        role: str,
        model: str,
        address: str,
        *,
        rest_left_s: Callable[[], float],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._role, self._model, self._address = role, model, address
        self._rest_left_s = rest_left_s
        self._monotonic_s = monotonic_s
        self._state = ModelState.UNASKED
        self._since_s = monotonic_s()
        self._reason = ""
        self._failed_count = 0

    def answered(self) -> None:
        """Note an answer."""
        self._become(ModelState.ANSWERS)
        self._reason = ""

    def failed(self, reason: str, *, is_open: bool) -> None:
        """Note a failed call; `is_open` says that no more are made for now. Empty `reason`: this one was not made."""
        if reason:
            self._failed_count += 1
            self._reason = reason[:REASON_CHARACTERS_MAX]
        if is_open:
            self._become(ModelState.RESTING if self._rest_left_s() else ModelState.UNREACHABLE)

    def health(self) -> ModelHealth:
        """Return a snapshot."""
        return ModelHealth(
            role=self._role,
            model=self._model,
            address=self._address,
            state=self._state,
            for_s=self._monotonic_s() - self._since_s,
            reason=self._reason,
            rest_left_s=self._rest_left_s(),
            failed_count=self._failed_count,
        )

    def _become(self, state: ModelState) -> None:
        if state is not self._state:
            self._state, self._since_s = state, self._monotonic_s()
