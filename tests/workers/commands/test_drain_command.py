"""`sluicegate drain --leave`: the slots of a node that does not come back give their memberships up."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.delivery import read
from tests.plugins.kafka_broker import Kafka
from tests.workers.supervision.test_agent import World
from workers.cli import main
from workers.kafka.groups import GroupIsActive, GroupOffsets
from workers.kafka.source import KafkaSource
from workers.settings import KafkaSettings


@pytest.fixture
def node() -> Iterator[World]:
    """A node with slot 0, whose agent is gone once it was drained."""
    world = World()
    ending = threading.Thread(target=lambda: (world.drained.wait(), world.agent.stop()))
    ending.start()
    yield world
    world.drained.set()
    ending.join()


def config_of(kafka: KafkaSettings, directory: Path) -> str:
    path = directory / "settings.toml"
    servers, group = json.dumps(list(kafka.bootstrap_servers)), json.dumps(kafka.group_id)
    path.write_text(f'[agent]\ntoken = "let me"\n[kafka]\nbootstrap_servers = {servers}\ngroup_id = {group}\n')
    return str(path)


def is_active(kafka: KafkaSettings, topic: str) -> bool:
    with GroupOffsets(kafka, kafka.group_id, topic) as group:
        try:
            group.require_idle()
        except GroupIsActive:
            return True
    return False


@pytest.mark.kafka
def test_a_node_that_leaves_has_no_member_in_the_group(
    node: World, kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, topic = kafka.settings(session_timeout_ms=45_000, max_poll_interval_ms=45_000), kafka.topic()
    kafka.send(topic, b"a")
    source = KafkaSource(settings, topic, 0)
    read(source, 1)
    source.close()
    assert is_active(settings, topic), "a static member stays when its worker ends"
    config = config_of(settings, tmp_path)
    assert main(["--config", config, "drain", "--url", node.url, "--wait", "60", "--leave"]) == 0
    assert f"slots that left group {settings.group_id}: 0\n" in capsys.readouterr().out
    assert not is_active(settings, topic)


def test_nobody_leaves_without_waiting_for_the_end(node: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A member that is removed while it works loses its partitions before it could commit."""
    assert main(["drain", "--url", node.url, "--leave"]) == 2
    assert "--leave needs --wait" in capsys.readouterr().err
    assert not node.drained.is_set()
