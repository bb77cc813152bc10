"""Attempts to connect that fail leave no thread behind: in a long outage there are hundreds of them."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient

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
