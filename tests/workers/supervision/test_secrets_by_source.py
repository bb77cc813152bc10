"""What is handed to Ray, whose control store keeps it, holds no secret: each actor reads secrets for itself."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from ray import cloudpickle

from topology.contract.errors import SettingsError
from topology.telemetry.instruments import Instruments
from workers.settings import Secret, Settings, StagesSettings, load_settings
from workers.settings.secret import secrets_of
from workers.supervision.actors import StageHost
from workers.supervision.node_agents import NodeAgents
from workers.supervision.supervisor import Supervisor

HUSH = "hush-hush-hush"
pickled_by_ray: Any = getattr(cloudpickle, "dumps")  # noqa: B009 - the library does not declare it
KEYS = [key for key, _ in secrets_of(Settings())]


class HandedOver:
    """Stands in for an actor class, and pickles what it would be made with, as Ray does."""

    def __init__(self) -> None:
        self.pickled: list[bytes] = []

    def options(self, **_: object) -> "HandedOver":
        return self

    def remote(self, *arguments: object) -> Any:
        self.pickled.append(pickled_by_ray(arguments))
        return self

    @property
    def run(self) -> "HandedOver":
        return self


def settings_in(folder: Path) -> Settings:
    """Settings in which every secret is given, each by a file."""
    lines: list[str] = []
    for key in KEYS:
        section, _, name = key.rpartition(".")
        (folder / key).write_text(f"x-key={HUSH}")
        lines.append(f'{section}.{name}_file = "{folder / key}"')
    config = folder / "sluicegate.toml"
    config.write_text("\n".join([*lines, 'kafka.security_protocol = "SASL_SSL"', 'kafka.sasl_username = "worker"']))
    return load_settings(config, {})


def test_no_secret_is_in_what_the_supervisor_hands_to_ray(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    pool = structs.replace(settings.stages.bias, placement="actor")
    settings = structs.replace(settings, stages=StagesSettings(bias=pool))
    handed = HandedOver()
    supervisor = Supervisor(settings, Instruments.none(), stage_class=handed, ingress_class=handed)
    supervisor.start()
    made = [each for each in handed.pickled if len(cloudpickle.loads(each)) > 1]
    assert len(made) == 2
    assert len(KEYS) == 8
    for pickled in made:
        assert HUSH.encode() not in pickled
        copy: Settings = cloudpickle.loads(pickled)[0]
        assert [secret.reveal() for _, secret in secrets_of(copy)] == [f"x-key={HUSH}"] * len(KEYS)


def test_a_secret_that_actors_cannot_read_is_refused_before_any_is_made() -> None:
    settings = structs.replace(Settings(), redaction=structs.replace(Settings().redaction, digest_key=Secret(HUSH)))
    for refuse in (lambda: Supervisor(settings, Instruments.none()), lambda: NodeAgents(settings)):
        with pytest.raises(SettingsError, match=r"redaction\.digest_key"):
            refuse()


def test_an_actor_that_cannot_read_a_secret_does_not_start(tmp_path: Path) -> None:
    handed = pickled_by_ray(settings_in(tmp_path))
    (tmp_path / "redaction.digest_key").unlink()
    with pytest.raises(SettingsError, match=r"redaction\.digest_key"):
        StageHost(cloudpickle.loads(handed), "bias")
