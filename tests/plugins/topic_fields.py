"""The fields of the settings' section `topics` that name a topic."""

from typing import Final

from topology.contract.names import Topic

TOPIC_FIELDS: Final = tuple(topic.name.lower() for topic in Topic)
