"""What every Labeler, Check and Stage does. A real one and its fake subclass these suites and say how to be made."""

import asyncio
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest

from tests.contracts.samples import POLICY, check_input, event
from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome, RequestLabels
from topology.ports import Check, Labeler, Stage


class LabelerContract:
    """`working` must label; `broken` must be unable to tell."""

    def working(self) -> AbstractAsyncContextManager[Labeler]:
        raise NotImplementedError

    def broken(self) -> AbstractAsyncContextManager[Labeler]:
        raise NotImplementedError

    def test_labels_name_who_spoke_and_can_be_audited(self) -> None:
        async def run() -> RequestLabels:
            async with self.working() as labeler:
                return await labeler.label(event(), POLICY)

        labels = asyncio.run(run())
        assert labels.labeler.model
        assert labels.labeler.version
        assert msgspec.json.decode(msgspec.json.encode(labels), type=RequestLabels) == labels

    def test_the_same_event_is_labelled_the_same_twice(self) -> None:
        async def run() -> tuple[RequestLabels, RequestLabels]:
            async with self.working() as labeler:
                return await labeler.label(event(), POLICY), await labeler.label(event(), POLICY)

        first, second = asyncio.run(run())
        assert first == second

    def test_a_labeler_that_cannot_tell_says_so(self) -> None:
        async def run() -> CheckFailed:
            async with self.broken() as labeler:
                with pytest.raises(CheckFailed) as caught:
                    await labeler.label(event("some private words"), POLICY)
                return caught.value

        error = asyncio.run(run())
        assert error.outcome is not Outcome.OK
        assert "private" not in str(error)


class CheckContract:
    """`working` must report; `broken` must be unable to tell."""

    def working(self) -> AbstractAsyncContextManager[Check]:
        raise NotImplementedError

    def broken(self) -> AbstractAsyncContextManager[Check]:
        raise NotImplementedError

    def test_a_report_is_in_the_checks_name_and_can_be_audited(self) -> None:
        async def run() -> tuple[Check, CheckReport]:
            async with self.working() as check:
                return check, await check.check(check_input())

        check, report = asyncio.run(run())
        assert check.name
        assert check.version
        assert report.check == check.name
        assert report.version.startswith(check.version), "a report may also name what belongs to its policy"
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=CheckReport) == report

    def test_the_same_draft_is_reported_the_same_twice(self) -> None:
        async def run() -> tuple[CheckReport, CheckReport]:
            async with self.working() as check:
                return await check.check(check_input()), await check.check(check_input())

        first, second = asyncio.run(run())
        assert first == second

    def test_a_check_that_cannot_tell_says_so(self) -> None:
        async def run() -> CheckFailed:
            async with self.broken() as check:
                with pytest.raises(CheckFailed) as caught:
                    await check.check(check_input("some private words"))
                return caught.value

        error = asyncio.run(run())
        assert error.outcome is not Outcome.OK
        assert "private" not in str(error)


class StageContract:
    """`stage` must report."""

    def stage(self) -> Stage:
        raise NotImplementedError

    def test_one_report_per_input_in_order_and_in_the_stages_name(self) -> None:
        stage = self.stage()
        batch = [check_input(f"Draft number {index}.") for index in range(3)]
        reports = stage.run(batch)
        assert len(reports) == 3
        assert {(report.check, report.version) for report in reports} == {(stage.name, stage.version)}
        assert [stage.run([one])[0] for one in batch] == list(reports)

    def test_no_inputs_give_no_reports(self) -> None:
        assert list(self.stage().run([])) == []

    def test_reports_can_cross_a_process(self) -> None:
        report = self.stage().run([check_input()])[0]
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=CheckReport) == report
