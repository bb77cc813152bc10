"""Workers that stay under different policies are told of once, and a roll-out on its way is not."""

import logging

import pytest

from workers.policy.skew import LOOKS_MAX, PolicySkew

INTERVAL_S = 5.0
ONE, TWO = {"ingress-0": "p@1.0.0", "ingress-1": "p@1.0.0"}, {"ingress-0": "p@1.1.0", "ingress-1": "p@1.0.0"}


def test_only_a_difference_that_lasts_is_told_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 0.0
    skew = PolicySkew(INTERVAL_S, lambda: now_s)

    def told(refs: dict[str, str], at_s: float) -> list[str]:
        nonlocal now_s
        now_s = at_s
        caplog.clear()
        skew.note(refs)
        return [record.message for record in caplog.records]

    caplog.set_level(logging.INFO)
    bound_s = LOOKS_MAX * INTERVAL_S
    assert told({}, 0) == told(ONE, 1) == told(TWO, 2) == told(TWO, 2 + bound_s - 1) == []
    assert told(ONE, 30) == []
    assert told(TWO, 31) == []
    assert told(TWO, 31 + bound_s) == ["workers apply different policies"]
    assert told(TWO, 99) == []
    assert told(ONE, 100) == ["workers apply one policy again"]
    assert told(ONE, 101) == []
