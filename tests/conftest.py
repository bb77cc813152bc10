"""Fixtures that tests of several folders share."""

from tests.plugins.kafka_broker import kafka, kafka_session

__all__ = ["kafka", "kafka_session"]
