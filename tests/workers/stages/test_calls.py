"""A stage actor judges each draft under the draft's own policy, and asks for one that it does not know."""

from collections.abc import Sequence

import msgspec
import pytest

from tests.contracts.samples import POLICY, check_input
from topology.contract.drafts import CheckReport
from topology.policy.bundle import PolicyBundle
from topology.ports import CheckInput
from workers.stages.calls import (
    KNOWN_MAX,
    PoliciesWanted,
    Reports,
    StageDesk,
    decode_answer,
    encode_batch,
    encode_item,
    encode_policies,
)


class Naming:
    """A stage whose reports name the policy that each draft came with."""

    name = "naming"
    version = "1"

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        return [CheckReport(check=self.name, version=given.policy.ref) for given in batch]


def policy(number: int) -> PolicyBundle:
    return msgspec.structs.replace(POLICY, content_hash=f"{number:064x}"[::-1])


def batch_of(policies: Sequence[PolicyBundle]) -> bytes:
    given = check_input()
    return encode_batch([encode_item(msgspec.structs.replace(given, policy=each)) for each in policies])


def asked(desk: StageDesk, policies: Sequence[PolicyBundle], beside: Sequence[PolicyBundle] = ()) -> object:
    return decode_answer(desk.answer(Naming(), batch_of(policies), encode_policies(beside) if beside else b""))


def refs(answer: object) -> list[str]:
    assert isinstance(answer, Reports)
    return [report.version for report in answer.reports]


def test_an_unknown_policy_is_asked_for_and_nothing_is_judged_meanwhile() -> None:
    desk, first, second = StageDesk(), policy(1), policy(2)
    assert asked(desk, [second, first, second]) == PoliciesWanted(tuple(sorted((first.ref, second.ref))))
    assert desk.batch_count == 0
    answer = asked(desk, [second, first, second], [first, second])
    assert refs(answer) == [second.ref, first.ref, second.ref]
    assert refs(asked(desk, [first])) == [first.ref], "it is known from then on"
    assert desk.batch_count == 2


def test_a_policy_that_was_forgotten_is_asked_for_again_and_a_batch_of_very_many_is_answered() -> None:
    desk = StageDesk()
    many = [policy(number) for number in range(KNOWN_MAX + 3)]
    assert refs(asked(desk, many, many)) == [each.ref for each in many]
    assert asked(desk, many[:1]) == PoliciesWanted((many[0].ref,))
    assert refs(asked(desk, many[-1:])) == [many[-1].ref]


def test_a_policy_arrives_as_it_was_sent() -> None:
    class Keeping(Naming):
        def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
            assert batch[0].policy == POLICY
            return super().run(batch)

    answer = decode_answer(StageDesk().answer(Keeping(), batch_of([POLICY]), encode_policies([POLICY])))
    assert refs(answer) == [POLICY.ref]


def test_garbage_is_no_answer() -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_answer(b"\x91")
