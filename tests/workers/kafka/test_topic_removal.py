"""The topics of a run are removed from the brokers, and nobody else's."""

import pytest

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import wait_until
from tests.plugins.running_worker import fresh_settings
from workers.kafka.topics import create_topics, delete_topics

pytestmark = pytest.mark.kafka


def test_only_these_topics_are_removed_and_a_second_time_does_no_harm(kafka: Kafka) -> None:
    removed, kept = fresh_settings(kafka), fresh_settings(kafka)
    delete_topics(removed.kafka, removed.topics)
    delete_topics(removed.kafka, removed.topics)
    assert create_topics(kept.kafka, kept.topics).created == ()
    wait_until(lambda: bool(create_topics(removed.kafka, removed.topics).created))
