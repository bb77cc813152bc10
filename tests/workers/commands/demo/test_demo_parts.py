"""The parts of the demo: brokers of the user's own that are not there are named at once."""

import socket

import pytest

from workers.commands.demo.parts import require_open_port
from workers.kafka.errors import KafkaUnavailable


def test_brokers_that_do_not_listen_are_named_with_the_reason() -> None:
    with pytest.raises(KafkaUnavailable) as raised:
        require_open_port(("127.0.0.1:1", "[::1]:1"))
    assert str(raised.value).startswith("kafka: demo: gave up, last error 127.0.0.1:1: Connection refused; [::1]:1: ")


def test_one_broker_that_listens_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        require_open_port(("127.0.0.1:1", f"127.0.0.1:{server.getsockname()[1]}"))
