"""Micro-batches are bounded, keep each report with its draft, and never turn a failure into a pass."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar, cast

import pytest

from tests.contracts.samples import POLICY
from topology.contract.drafts import CheckReport, Draft
from topology.contract.errors import CheckFailed
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.labels import LabelerIdentity, Mode, Outcome, Plan, RequestLabels
from topology.contract.names import DraftSource
from topology.load.service_time import Clocks
from topology.ports import CheckInput
from topology.steps.time_limit import ServiceTimeLimit
from topology.telemetry.instruments import Instruments
from workers.settings import StageSettings
from workers.stages.batching import BatchedCheck
from workers.stages.inline import STUCK_THREADS_MAX, InlineRunner

T = TypeVar("T")
Run = Callable[[Sequence[CheckInput]], Sequence[CheckReport]]


class ScriptedStage:
    """A stage whose batches do what the test says; remembers batch sizes."""

    name = "bias"
    version = "1"

    def __init__(self, run: Run) -> None:
        self._run = run
        self.sizes: list[int] = []

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        self.sizes.append(len(batch))
        return self._run(batch)


def given(text: str = "draft") -> CheckInput:
    message = Message(role=Role.USER, parts=(TextPart(text="question"),))
    return CheckInput(
        event=ConversationEvent(event_id="e", conversation_id="c", tenant_id="t", messages=(message,)),
        labels=RequestLabels(labeler=LabelerIdentity(model="m", version="1")),
        plan=Plan(mode=Mode.DIRECT_ANSWER, ceilings={}),
        draft=Draft(text=text, source=DraftSource.GENERATOR),
        attempt=1,
        policy=POLICY,
    )


def echo(batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
    return [CheckReport(check="bias", version="1", scores={item.draft.text: 0.5}) for item in batch]


def run_with(
    run: Run,
    use: Callable[[BatchedCheck[CheckInput], ScriptedStage], Coroutine[None, None, T]],
    settings: StageSettings | None = None,
    on_stuck: Callable[[str], None] = lambda name: None,
) -> T:
    async def session() -> T:
        chosen = settings or StageSettings(timeout_s=2)
        stage = ScriptedStage(run)
        check = BatchedCheck("bias", "1", InlineRunner(stage, chosen.timeout_s, on_stuck), chosen, Instruments.none())
        try:
            return await use(check, stage)
        finally:
            await check.close()

    return asyncio.run(session())


def failure_of(run: Run, settings: StageSettings | None = None) -> Outcome:
    async def use(check: BatchedCheck[CheckInput], _: ScriptedStage) -> Outcome:
        with pytest.raises(CheckFailed) as caught:
            await check.check(given())
        return caught.value.outcome

    return run_with(run, use, settings)


class EchoRunner:
    """A runner that answers at once; remembers batch sizes."""

    batches_max = 2

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def prepare(self, given: CheckInput) -> CheckInput:
        return given

    def size(self, item: CheckInput) -> int:
        return len(item.draft.text)

    async def run(self, items: Sequence[CheckInput]) -> Sequence[CheckReport]:
        self.sizes.append(len(items))
        await asyncio.sleep(0)
        return echo(items)

    def close(self) -> None: ...


def test_each_draft_gets_its_own_report_and_batches_are_bounded() -> None:
    async def session() -> None:
        runner = EchoRunner()
        check = BatchedCheck("bias", "1", runner, StageSettings(batch_events_max=16), Instruments.none())
        reports = await asyncio.gather(*(check.check(given(str(number))) for number in range(100)))
        assert [next(iter(report.scores)) for report in reports] == [str(number) for number in range(100)]
        assert max(runner.sizes) == 16
        assert sum(runner.sizes) == 100
        await check.close()

    asyncio.run(session())


def test_what_one_draft_costs_counts_against_no_other() -> None:
    """Each is served within the limit, all of them together are not; one that is over it is late alone."""
    released = threading.Event()

    def run(batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        for item in batch:
            (released if item.draft.text == "endless" else threading.Event()).wait(30 if item.draft.text else 0.1)
        return echo(batch)

    async def use(check: BatchedCheck[CheckInput], _: ScriptedStage) -> list[CheckReport | BaseException]:
        texts = ["", "", "", "endless", "", "", ""]
        return await asyncio.gather(*(check.check(given(text)) for text in texts), return_exceptions=True)

    judged = run_with(run, use, StageSettings(timeout_s=0.4))
    released.set()
    late = [index for index, each in enumerate(judged) if isinstance(each, CheckFailed)]
    assert late == [3]
    assert isinstance(judged[3], CheckFailed)
    assert judged[3].outcome is Outcome.TIMEOUT


def test_time_in_the_queue_counts_against_no_limit() -> None:
    """The caller's limit stops while a draft waits for its stage, which is busy with another one."""

    async def use(check: BatchedCheck[CheckInput], _: ScriptedStage) -> list[CheckReport]:
        async def limited() -> CheckReport:
            with ServiceTimeLimit(0.25):
                return await check.check(given())

        return await asyncio.gather(*(limited() for _ in range(6)))

    def run(batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        threading.Event().wait(0.1)
        return echo(batch)

    assert len(run_with(run, use, StageSettings(timeout_s=5, batch_events_max=1))) == 6


def test_a_lone_draft_does_not_wait_for_a_full_batch() -> None:
    async def use(check: BatchedCheck[CheckInput], _: ScriptedStage) -> CheckReport:
        async with asyncio.timeout(1):
            return await check.check(given())

    assert run_with(echo, use).check == "bias"


def test_a_stage_that_raises_could_not_tell() -> None:
    def explode(batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        raise ZeroDivisionError(len(batch))

    assert failure_of(explode) is Outcome.CRASHED


@pytest.mark.parametrize(
    "garbage",
    [
        lambda batch: [],
        lambda batch: None,
        lambda batch: ["nonsense"],
        lambda batch: [CheckReport(check="other", version="1")],
        lambda batch: [CheckReport(check="bias", version=cast("str", 7))],
        lambda batch: [CheckReport(check="bias", version="1", scores=cast("dict[str, float]", {"a": object()}))],
    ],
    ids=["too few", "nothing", "no report", "of another check", "wrong type", "not encodable"],
)
def test_a_stage_that_returns_garbage_could_not_tell(garbage: Run) -> None:
    assert failure_of(garbage) is Outcome.UNPARSABLE


def test_a_stage_that_hangs_is_timed_out_and_the_next_batch_runs() -> None:
    release = threading.Event()

    def hang_once(batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        if not release.is_set():
            release.set()
            threading.Event().wait(30)
        return echo(batch)

    async def use(check: BatchedCheck[CheckInput], _: ScriptedStage) -> CheckReport:
        with pytest.raises(CheckFailed) as caught:
            await check.check(given())
        assert caught.value.outcome is Outcome.TIMEOUT
        return await check.check(given())

    assert run_with(hang_once, use, StageSettings(timeout_s=0.2)).check == "bias"


def test_a_stage_that_keeps_hanging_asks_for_a_new_process() -> None:
    stuck: list[str] = []

    def hang(batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        threading.Event().wait(30)
        return echo(batch)

    async def use(check: BatchedCheck[CheckInput], _: ScriptedStage) -> None:
        for _attempt in range(STUCK_THREADS_MAX):
            with pytest.raises(CheckFailed):
                await check.check(given())

    run_with(hang, use, StageSettings(timeout_s=0.1), stuck.append)
    assert stuck == ["bias"]


def test_a_stage_that_works_slowly_is_late_and_the_process_stays() -> None:
    """Its threads use CPU time in every look and end one day; the wall clock stands, so that no bound is passed."""
    stuck: list[str] = []
    looks = itertools.count()

    def at_work(_thread: int) -> Clocks:
        return Clocks(wall_s=0, thread_s=next(looks), process_s=0)

    def work(batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        threading.Event().wait(0.5)
        return echo(batch)

    async def session() -> None:
        settings = StageSettings(timeout_s=0.1)
        runner = InlineRunner(ScriptedStage(work), settings.timeout_s, stuck.append, clocks=at_work)
        check = BatchedCheck("bias", "1", runner, settings, Instruments.none())
        for _attempt in range(STUCK_THREADS_MAX + 1):
            with pytest.raises(CheckFailed) as caught:
                await check.check(given())
            assert caught.value.outcome is Outcome.TIMEOUT
        await check.close()

    asyncio.run(session())
    assert stuck == []


def test_a_cancelled_check_is_left_out_of_its_batch() -> None:
    async def use(check: BatchedCheck[CheckInput], stage: ScriptedStage) -> list[int]:
        first = asyncio.create_task(check.check(given("first")))
        second = asyncio.create_task(check.check(given("second")))
        await asyncio.sleep(0)
        first.cancel()
        report = await second
        assert set(report.scores) == {"second"}
        return stage.sizes

    assert run_with(echo, use, StageSettings(linger_ms=20, timeout_s=2)) == [1]
