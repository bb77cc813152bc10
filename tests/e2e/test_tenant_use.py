"""On the real broker, with a worker that is killed again and again: the sums are what was answered, and no limit grows.

The test starts the worker again, as a supervisor does.
"""

import signal
import sys
import uuid
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from tests.checkout import ROOT
from tests.e2e.usage_worker import BUDGETS, EVENTS_MAX, TOKENS, TOKENS_MAX, settings_of
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import wait_until
from tests.plugins.running_worker import question, responses, send
from topology.contract.events import AuditedResponse
from topology.contract.tenants import UsageRecord, Use
from workers.kafka.reader import read_topic
from workers.kafka.topics import create_topics
from workers.process.child import KeptProcess
from workers.settings import Settings

pytestmark = pytest.mark.kafka

EVENTS_OF_EACH = 120
CONVERSATIONS = 40
KILLED_AT = (40, 120, 220)
"""Answers at which the worker is killed."""


class Lived(NamedTuple):
    """What was sent, by tenant and partition, and what became of it."""

    settings: Settings
    sent: Counter[tuple[str, int]]
    answers: list[AuditedResponse]
    records: list[UsageRecord]

    def use(self, tenant_id: str) -> Use:
        return sum((record.use for record in self.records if record.tenant_id == tenant_id), Use())

    def answered(self, tenant_id: str) -> list[AuditedResponse]:
        return [answer for answer in self.answers if answer.tenant_id == tenant_id]


@contextmanager
def worker(kafka: Kafka, group: str, directory: Path) -> Generator[KeptProcess]:
    command = [sys.executable, "-m", "tests.e2e.usage_worker", kafka.bootstrap, group]
    process = KeptProcess(command, log=directory / "worker.log", directory=ROOT)
    try:
        yield process
    finally:
        process.kill()


def newest(settings: Settings) -> list[UsageRecord]:
    """The newest sum of each key, as a reader of the compacted topic has them."""
    found = {record.key: record.value or b"" for record in read_topic(settings.kafka, settings.topics.usage)}
    return [msgspec.json.decode(value, type=UsageRecord) for value in found.values()]


@pytest.fixture(scope="module")
def lived(kafka_session: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    group, directory = f"usage-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("usage")
    settings = settings_of(kafka_session.bootstrap, group)
    create_topics(settings.kafka, settings.topics)
    events = [
        question(number, f"{tenant}-{number % CONVERSATIONS}", event_id=f"{tenant}-{number}", tenant_id=tenant)
        for number in range(EVENTS_OF_EACH)
        for tenant in BUDGETS
    ]
    places = send(settings, events)
    sent = Counter((event.tenant_id, partition) for event, (_, partition, _) in zip(events, places, strict=True))
    for count in KILLED_AT:
        with worker(kafka_session, group, directory) as process:
            wait_until(lambda count=count: len(responses(settings)) >= count)
            process.send(signal.SIGKILL)
    with worker(kafka_session, group, directory):
        wait_until(lambda: len(responses(settings)) >= len(events))
    return Lived(settings, sent, responses(settings), newest(settings))


@pytest.mark.parametrize("tenant_id", BUDGETS)
def test_after_any_kill_the_sums_equal_what_was_answered(lived: Lived, tenant_id: str) -> None:
    use, answers = lived.use(tenant_id), lived.answered(tenant_id)
    assert len(answers) == len({answer.event_id for answer in answers}) == EVENTS_OF_EACH
    assert use.answers == len(answers)
    assert use.limited == sum(answer.reason_codes == ("rate_limited",) for answer in answers)
    assert use.tokens == sum(answer.usage.input_tokens + answer.usage.output_tokens for answer in answers)
    assert use.generation.calls == use.events


def test_a_tenant_without_limits_is_never_refused(lived: Lived) -> None:
    assert lived.use("counted").limited == 0


def test_each_partition_admits_its_share_of_events_however_often_the_worker_died(lived: Lived) -> None:
    if len({record.day_ms for record in lived.records}) > 1:
        pytest.skip("a day ended meanwhile")
    share = EVENTS_MAX // 2
    expected = sum(min(share, lived.sent["events", partition]) for partition in (0, 1))
    assert lived.use("events").events == expected
    refused = [answer for answer in lived.answered("events") if answer.reason_codes == ("rate_limited",)]
    assert all(answer.retry_after_ms > 0 for answer in refused)


def test_tokens_exceed_a_limit_by_no_more_than_what_was_in_flight(lived: Lived) -> None:
    if len({record.day_ms for record in lived.records}) > 1:
        pytest.skip("a day ended meanwhile")
    excess = lived.use("tokens").tokens - TOKENS_MAX
    in_flight_tokens = lived.settings.limits.in_flight_max * (TOKENS.input_tokens + TOKENS.output_tokens)
    print(f"tokens beyond the limit of {TOKENS_MAX}: {excess}; at most {in_flight_tokens} were in flight")
    assert 0 <= excess <= in_flight_tokens
    assert lived.use("tokens").limited > 0
