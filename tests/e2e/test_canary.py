"""`sluicegate canary` on a real broker and the real guards: well where they work, loud where all passes."""

import json
from pathlib import Path

import pytest
from msgspec import structs

from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.guards.per_policy import PolicyLabeler
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S
from tests.plugins.running_worker import audits, fresh_settings, responses, running_loop
from topology.telemetry.instruments import Instruments
from workers.commands import canary
from workers.commands.console.parser import build_parser
from workers.policy.signing import new_private_key, public_half
from workers.settings import CanarySettings, Settings
from workers.stages.building import build_checks

pytestmark = pytest.mark.kafka


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "canary.pem"
    path.write_bytes(new_private_key())
    return path


def probing(kafka: Kafka, key_file: Path) -> Settings:
    keys = {"platform-1": public_half(key_file.read_bytes())}
    return structs.replace(fresh_settings(kafka), canary=CanarySettings(keys=keys))


def run(settings: Settings, key_file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    """The command's exit status, and the action of each case."""
    arguments = build_parser().parse_args(["canary", "--key-file", str(key_file), "--json", "--wait", str(PATIENCE_S)])
    status = canary.execute(arguments, settings)
    probes = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return status, {probe["case"]: probe["action"] for probe in probes}


def test_probes_end_as_they_must_under_the_real_guards_and_only_on_their_topic(
    kafka: Kafka, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = probing(kafka, key_file)
    model = LinearModel.load()
    labeler = PolicyLabeler(lambda policy: EmbeddedLabeler(model, policy.categories))
    with running_loop(settings, labeler=labeler, checks=build_checks(settings, {}, [], Instruments.none())):
        status, actions = run(settings, key_file, capsys)
    assert (status, actions["allowed"]) == (0, "published")
    assert actions["blocked"] != "published"
    assert responses(settings) == []
    assert sorted(record.canary for record in audits(settings)) == ["allowed", "blocked"]


def test_guards_that_let_everything_pass_are_found_out(
    kafka: Kafka, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = probing(kafka, key_file)
    with running_loop(settings):
        assert run(settings, key_file, capsys) == (1, {"allowed": "published", "blocked": "published"})


def test_a_key_that_no_worker_knows_is_refused_before_anything_is_sent(kafka: Kafka, key_file: Path) -> None:
    from topology.contract.errors import SettingsError

    arguments = build_parser().parse_args(["canary", "--key-file", str(key_file)])
    with pytest.raises(SettingsError, match=r"canary\.keys"):
        canary.execute(arguments, fresh_settings(kafka))
