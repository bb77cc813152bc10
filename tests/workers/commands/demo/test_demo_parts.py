"""The parts of the demo: brokers of the user's own that are not there are named at once, and its own settings."""

import socket
from pathlib import Path

import pytest

from workers.commands.demo.parts import demo_settings, require_open_port
from workers.kafka.errors import KafkaUnavailable
from workers.kafka.topics import topic_table
from workers.settings import Settings


def test_brokers_that_do_not_listen_are_named_with_the_reason() -> None:
    with pytest.raises(KafkaUnavailable) as raised:
        require_open_port(("127.0.0.1:1", "[::1]:1"))
    assert str(raised.value).startswith("kafka: demo: gave up, last error 127.0.0.1:1: Connection refused; [::1]:1: ")


def test_one_broker_that_listens_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        require_open_port(("127.0.0.1:1", f"127.0.0.1:{server.getsockname()[1]}"))


@pytest.mark.parametrize("is_streaming", [True, False])
def test_answers_stream_on_topics_of_the_runs_own(tmp_path: Path, is_streaming: bool) -> None:
    base = Settings()
    settings = demo_settings(base, base.kafka, tmp_path, own_brokers=True, is_streaming=is_streaming, otlp="")
    assert settings.streaming.enabled is is_streaming
    topics = settings.topics
    assert {topics.stream, topics.events, topics.audited}.isdisjoint({base.topics.stream, base.topics.events})
    specs = {spec.name: spec for spec in topic_table(topics, is_streaming=is_streaming)}
    assert all(specs[name].is_append_time for name in (topics.stream, topics.events, topics.audited))
