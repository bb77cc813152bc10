"""The short form of chaos on a real broker of its own: twelve faults of ten kinds, then everything is counted."""

import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.chaos.faults import SHORT_ORDER, FaultKind
from tests.chaos.run import Result
from tests.checkout import ROOT
from workers.process.child import KeptProcess

RUN_MAX_S = 900.0
"""It takes 45 s; a machine that does much else needs longer for every start of a process."""

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(RUN_MAX_S + 20)]


def test_twelve_faults_lose_repeat_and_disorder_nothing(tmp_path: Path) -> None:
    log = tmp_path / "chaos.log"
    command = [sys.executable, "-m", "tests.chaos", "--short", "--dir", str(tmp_path / "run")]
    process = KeptProcess(command, log=log, directory=ROOT)
    deadline_s = time.monotonic() + RUN_MAX_S
    while process.exit_code is None and time.monotonic() < deadline_s:
        time.sleep(0.1)
    if process.exit_code is None:
        process.kill()
    assert process.exit_code == 0, log.read_text()
    result = msgspec.json.decode((tmp_path / "run" / "result.json").read_bytes(), type=Result)
    done = result.progress.faults
    assert sum(done.values()) == len(SHORT_ORDER), log.read_text()
    assert {
        FaultKind.BROKER.value,
        FaultKind.FREEZE.value,
        FaultKind.GENERATION.value,
        FaultKind.STOP.value,
        FaultKind.PRODUCER.value,
    } <= done.keys(), log.read_text()
    assert all(one.sent > 500 for one in result.counts), log.read_text()
