"""Fixtures that tests of several folders share."""

from tests.plugins.kafka_broker import kafka, kafka_session
from tests.plugins.local_ray import local_ray
from tests.plugins.vllm_server import model_traces, vllm_server

__all__ = ["kafka", "kafka_session", "local_ray", "model_traces", "vllm_server"]
