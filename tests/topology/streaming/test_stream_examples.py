"""The example readers, Python and JavaScript: after every record of any log they show what the rule shows."""

import importlib.util
import json
import random
import shutil
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tests.checkout import ROOT
from tests.topology.streaming.stream_samples import opened, segment, token
from topology.contract.codec import encode
from topology.contract.streams import StreamRecord
from topology.streaming.reader_rule import Shown

LOGS = 400
RECORDS_MAX = 12
EXAMPLES = ROOT / "docs" / "examples"

SCRIPT = """
import { createInterface } from "node:readline";
const { StreamedAnswer } = await import(process.argv[1]);
for await (const line of createInterface({ input: process.stdin })) {
  const { isFromStart, records, response } = JSON.parse(line);
  const answer = new StreamedAnswer({ isFromStart });
  const shown = records.map((record) => answer.take(record));
  const { text, isReplacing } = answer.end(response);
  console.log(JSON.stringify([shown, text, isReplacing]));
}
"""

Log = tuple[bool, list[StreamRecord], str]


def some_log(seed: int) -> Log:
    """A log in which runs follow and overtake each other, segments are missing, double or late, and its response."""
    chance = random.Random(seed)
    producers = (7, 7, 7, 8)
    runs = [token(chance.randrange(1, 3), chance.randrange(2), chance.choice(producers), run) for run in (1, 2, 3)]
    records, sequence = [opened(runs[0])], 1
    for _ in range(chance.randrange(1, RECORDS_MAX)):
        of = chance.choice((runs[0], *runs))
        if chance.random() < 0.25:
            records.append(opened(of))
        else:
            records.append(segment(of, max(1, sequence + chance.choice((0, 0, 0, 0, -1, 1))), f"{len(records)}. "))
            sequence = records[-1].sequence + 1
    whole = Shown()
    for record in records:
        whole.take(record)
    response = chance.choice((whole.text + "The end.", whole.text, "Another answer.", ""))
    return chance.random() < 0.9, records, response


def as_the_rule_shows(log: Log) -> list[Any]:
    is_from_start, records, response = log
    shown = Shown(is_from_start=is_from_start)
    texts = [shown.take(record) for record in records]
    ending = shown.end(response)
    return [texts, ending.text, ending.is_replacing]


@pytest.fixture(scope="module")
def logs() -> list[Log]:
    found = [some_log(seed) for seed in range(LOGS)]
    told = [as_the_rule_shows(log) for log in found]
    # Otherwise a reader that shows nothing, or everything, would pass.
    assert sum(any(texts) for texts, _, _ in told) > LOGS / 4
    assert sum(is_replacing for _, _, is_replacing in told) > LOGS / 20
    return found


def test_the_python_example_shows_what_the_rule_shows(logs: list[Log]) -> None:
    spec = importlib.util.spec_from_file_location("stream_reader", EXAMPLES / "stream_reader.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stream_reader"] = module
    spec.loader.exec_module(module)
    for log in logs:
        is_from_start, records, response = log
        answer = module.StreamedAnswer(is_from_start=is_from_start)
        texts = [answer.take(msgspec.json.decode(encode(record))) for record in records]
        assert [texts, *answer.end(response)] == as_the_rule_shows(log)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_javascript_example_shows_what_the_rule_shows(logs: list[Log]) -> None:
    lines = [
        json.dumps(
            {
                "isFromStart": is_from_start,
                "records": [msgspec.json.decode(encode(record)) for record in records],
                "response": response,
            }
        )
        for is_from_start, records, response in logs
    ]
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", SCRIPT, (EXAMPLES / "stream_reader.mjs").as_uri()],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert [json.loads(line) for line in ran.stdout.splitlines()] == [as_the_rule_shows(log) for log in logs]
