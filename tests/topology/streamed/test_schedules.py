# pyright: reportPrivateUsage=false
"""Random schedules of streamed events hold, and would not without the rules that hold them up."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from msgspec import structs

from tests.topology.streamed.schedules import Broken, tally
from topology.contract.drafts import Draft
from topology.contract.errors import Replaced
from topology.contract.events import Attempt
from topology.contract.labels import Extent, Outcome, OutputLabels, Plan, ReleasedText, Verdict
from topology.steps.case import Case, Decision
from topology.steps.drafting import Drafting
from topology.streamed.answering import Answering
from topology.streamed.releasing import Releasing
from topology.streaming.holdback import HoldBack

SEEDS = range(120)
SEEDS_OF_A_MUTATION = range(400)
"""A mutation is noticed by one of the first few dozen."""


def test_what_is_shown_was_judged_and_is_kept_whatever_happens() -> None:
    ends = tally(SEEDS)
    assert min(ends[name] for name in ("with text released", "withheld", "published", "replaced", "redacted")) > 0
    assert ends["continued after a fault"] > 0


async def _release_before_a_check(self: Answering) -> Attempt | None:
    await self._leave(self._hold.passed(self._hold.window()), OutputLabels())
    return None


async def _release_the_end_before_a_check(self: Answering, draft: Draft) -> Decision | Attempt:
    await self._begin()
    await self._leave(self._hold.passed(self._hold.window()), OutputLabels())
    return await _WHOLE(self, draft)


def _skip_on_time_out(
    self: Drafting, case: Case, plan: Plan, labels: OutputLabels, count: int, extent: Extent = Extent.WHOLE
) -> Verdict:
    runs = tuple(structs.replace(run, outcome=Outcome.OK) for run in labels.guards)
    return _VERDICT(self, case, plan, structs.replace(labels, guards=runs), count, extent)


async def _drop_the_prefix(_self: Releasing, case: Case) -> str:
    assert case.streamed is not None
    await asyncio.wait([case.streamed.opening])
    return ""


async def _release_without_a_comparison(
    _self: Releasing, case: Case, text: str, piece: ReleasedText, *, shown: str, is_last: bool = False
) -> None:
    assert case.streamed is not None
    with contextlib.suppress(Replaced):
        await case.streamed.releases.release(text, piece.source, is_last=is_last)


async def _response_without_what_was_sent(self: Releasing, case: Case, decision: Decision) -> Decision:
    return decision


def _opening_is_not_held(*_: object) -> bool:
    return True


def _replacement_is_not_told(*_: object) -> None:
    """Go on as if nothing had happened."""


_WHOLE, _VERDICT = Answering._whole, Drafting.verdict

MUTATIONS: list[tuple[object, str, Callable[..., object]]] = [
    (Answering, "_passed_on", _release_before_a_check),
    (Answering, "_whole", _release_the_end_before_a_check),
    (Drafting, "verdict", _skip_on_time_out),
    (Releasing, "completed", _response_without_what_was_sent),
    (HoldBack, "_may_begin", _opening_is_not_held),
    (Releasing, "silence", _replacement_is_not_told),
]


@pytest.mark.parametrize(("owner", "name", "changed"), MUTATIONS, ids=[each[2].__name__ for each in MUTATIONS])
def test_a_rule_that_is_taken_out_is_noticed(
    owner: object, name: str, changed: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, changed)
    with pytest.raises(Broken):
        tally(SEEDS_OF_A_MUTATION)


def test_dropping_the_prefix_is_noticed_without_the_guards_that_come_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Releasing, "begun", _drop_the_prefix)
    tally(range(20))  # what was sent is compared, and a response that differs says that it replaces
    monkeypatch.setattr(Releasing, "release", _release_without_a_comparison)
    monkeypatch.setattr(Releasing, "completed", _response_without_what_was_sent)
    with pytest.raises(Broken):
        tally(SEEDS_OF_A_MUTATION)
