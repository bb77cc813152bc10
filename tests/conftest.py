"""Fixtures that tests of several folders share."""

import os

from tests.plugins.kafka_broker import kafka, kafka_session
from tests.plugins.local_ray import local_ray
from tests.plugins.vllm_server import vllm_server

os.environ.setdefault("SLUICEGATE_AGENT__PORT", "0")
"""Several workers run at once on this machine: those that have a port choose it."""

__all__ = ["kafka", "kafka_session", "local_ray", "vllm_server"]
