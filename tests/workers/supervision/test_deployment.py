"""The supervisor under Ray Serve, as a RayService runs it: real Serve, real Ray, real Kafka."""

import hashlib
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import fresh_settings
from tests.plugins.topic_fields import TOPIC_FIELDS
from topology.contract.errors import SettingsError
from workers.commands.demo.parts import free_port
from workers.settings import InvalidSettings
from workers.supervision.node_client import AgentError, ask_to_drain, node_status
from workers.supervision.node_state import NodeStatus

APPLICATION = "sluicegate-test"


class ServedSupervisor:
    """One release: its settings file, its application in Serve, its node's agent."""

    def __init__(self, kafka: Kafka, directory: Path) -> None:
        self._settings = fresh_settings(kafka)
        self._file = directory / "settings.toml"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def deploy(self, slots: int) -> None:
        """What `helm upgrade` comes to: the mounted file changes, and its digest in the Serve configuration."""
        from ray import serve
        from ray.serve.schema import ServeDeploySchema

        self._write(slots)
        digest = hashlib.sha256(self._file.read_bytes()).hexdigest()
        application = {
            "name": APPLICATION,
            "route_prefix": None,
            "import_path": "workers.serve_supervisor:build",
            "args": {"config": str(self._file)},
            "deployments": [{"name": "Supervisor", "user_config": {"settings_sha256": digest}}],
        }
        client: Any = serve.context._get_global_client()
        client.deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}))

    def _write(self, slots: int) -> None:
        settings = self._settings
        topics = "\n".join(f'{name} = "{getattr(settings.topics, name)}"' for name in TOPIC_FIELDS)
        self._file.write_text(
            f'[kafka]\nbootstrap_servers = ["{settings.kafka.bootstrap_servers[0]}"]\n'
            f'group_id = "{settings.kafka.group_id}"\n[topics]\n{topics}\n'
            f'[generation]\nbase_url = "http://127.0.0.1:9/v1"\n[ray]\nslots = {slots}\nhealth_interval_s = 0.5\n'
            f'restart_backoff_max_s = 1\n[drain]\ntimeout_s = 5\n[agent]\nport = {self._port}\ntoken = "let me"\n',
            encoding="utf-8",
        )

    def status(self) -> NodeStatus | None:
        """What the node's agent says; None while there is none."""
        try:
            return node_status(self.url)
        except AgentError:
            return None

    def ready(self, *names: str) -> bool:
        """Whether exactly these actors are at work."""
        status = self.status()
        return status is not None and status.ready and tuple(actor.name for actor in status.actors) == names


@pytest.fixture
def served(kafka: Kafka, local_ray: None, tmp_path: Path) -> Generator[ServedSupervisor]:
    from ray import serve

    del local_ray
    serve.start(http_options={"host": "127.0.0.1", "port": 0})
    yield ServedSupervisor(kafka, tmp_path)
    serve.delete(APPLICATION)
    serve.shutdown()


@pytest.mark.kafka
@pytest.mark.ray
@pytest.mark.timeout(300)
def test_serve_starts_changes_and_ends_the_workers(served: ServedSupervisor) -> None:
    """A change of settings reaches them without a new pod; a node that was drained is not put to work again."""
    from ray import serve

    served.deploy(slots=1)
    wait_until(lambda: served.ready("ingress-0"), PATIENCE_S)
    with urllib.request.urlopen(f"{served.url}/metrics", timeout=PATIENCE_S) as answer:
        assert 'process="ingress-0"' in answer.read().decode()

    served.deploy(slots=2)
    wait_until(lambda: served.ready("ingress-0", "ingress-1"), PATIENCE_S)

    ask_to_drain(served.url, "let me")
    wait_until(lambda: (status := served.status()) is not None and status.draining and not status.ready)

    serve.delete(APPLICATION)
    wait_until(lambda: served.status() is None, PATIENCE_S)


def test_an_application_without_a_readable_settings_file_is_refused(tmp_path: Path) -> None:
    from workers.supervision.deployment import build

    with pytest.raises(InvalidSettings, match="nowhere"):
        build({"config": str(tmp_path / "nowhere.toml")})


def test_a_model_application_with_an_unknown_field_is_refused() -> None:
    from serving.engine.application import build_from_arguments

    with pytest.raises(SettingsError, match="replica_count"):
        build_from_arguments({"model": "m", "served_name": "m", "replica_count": 2})
