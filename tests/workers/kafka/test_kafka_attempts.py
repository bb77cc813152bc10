"""Attempts to connect that fail leave no thread behind: in a long outage there are hundreds of them."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaTimeoutError

from tests.plugins.otlp_receiver import closed_endpoint
from workers.kafka.client import admin_options, connect, consumer_options, producer_options
from workers.kafka.errors import KafkaUnavailable
from workers.settings import KafkaSettings

CLIENTS = [
    (KafkaConsumer, consumer_options),
    (KafkaProducer, producer_options),
    (KafkaAdminClient, admin_options),
]


@pytest.mark.parametrize(("kind", "options"), CLIENTS, ids=["consumer", "producer", "admin"])
def test_an_attempt_to_connect_that_fails_leaves_no_thread_behind(
    kind: Callable[..., Any], options: Callable[[KafkaSettings], dict[str, Any]]
) -> None:
    settings = KafkaSettings(bootstrap_servers=(closed_endpoint().removeprefix("http://"),), connect_timeout_s=0.1)
    threads = set(threading.enumerate())
    for _ in range(3):
        with pytest.raises(KafkaUnavailable):
            connect("test", lambda: kind(**options(settings)), 0.1)
    assert [thread.name for thread in threading.enumerate() if thread not in threads] == []


@pytest.mark.parametrize("reason", ["NetworkSelector closed!", "Concurrent access to net.poll!"])
def test_a_client_that_cannot_be_closed_again_does_not_hide_why_it_failed(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its start timed out on a busy machine, while its own thread was closing it."""

    def refuse(_self: object) -> None:
        raise RuntimeError(reason)

    class Network:
        close = refuse

        def __init__(self, **_options: object) -> None:
            self._manager = SimpleNamespace(_build_transport=None)

    monkeypatch.setattr("workers.kafka.client.KafkaNetClient", Network)
    attempts: list[object] = []

    def build() -> str:
        attempts.append(producer_options(KafkaSettings())["kafka_client"]())
        if len(attempts) == 1:
            raise KafkaTimeoutError
        return "connected"

    assert connect("test", build, 10.0, sleep=lambda _: None) == "connected"
