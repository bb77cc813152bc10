"""`sluicegate policy keygen | sign | publish`, and what `check` says of the topic, on the real broker."""

import stat
from pathlib import Path

import msgspec
import pytest

from tests.plugins.kafka_broker import Kafka
from tests.plugins.policy_publisher import CATEGORY, HIGH, LOW, document, overlay
from tests.plugins.running_worker import fresh_settings
from topology.policy.envelopes import Envelope
from workers.cli import main
from workers.commands.check.configuration import probe_policy
from workers.commands.check.probe import Mark
from workers.kafka.reader import read_topic
from workers.settings import Settings, load_settings


class Publisher:
    """The command line of somebody who publishes policies; every file is in one folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capsys = capsys
        self.public = self.said("keygen", str(folder / "key.pem"))[1].strip()
        self._config = ""

    def connect(self, settings: Settings) -> Settings:
        """Settings as this publisher and its workers have them."""
        config = self._folder / "sluicegate.toml"
        config.write_text(
            f'[kafka]\nbootstrap_servers = ["{settings.kafka.bootstrap_servers[0]}"]\n'
            f'[topics]\npolicy = "{settings.topics.policy}"\n'
            f'[policy]\nsource = "topic"\nkeys = {{platform = "{self.public}"}}\n'
        )
        self._config = str(config)
        return load_settings(config, {})

    def said(self, verb: str, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = main(["policy", verb, *arguments])
        ended = self._capsys.readouterr()
        return status, ended.out, ended.err

    def sign(self, kind: str, raw: bytes | None, *options: str, key: str = "key.pem") -> tuple[int, str]:
        """Status, and the file of the publication."""
        source, signed = self._folder / "document", self._folder / f"signed-{len(list(self._folder.iterdir()))}"
        files = []
        if raw is not None:
            source.write_bytes(raw)
            files = [str(source)]
        keys = ["--key", str(self._folder / key), "--key-id", "platform"]
        status, _, error = self.said("sign", *files, "--kind", kind, *keys, *options, "-o", str(signed))
        return status, error if status else str(signed)

    def publish(self, *files: str) -> tuple[int, str, str]:
        return self.said("publish", *files, "--config", self._config)


@pytest.fixture
def publisher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Publisher:
    return Publisher(tmp_path, capsys)


def test_a_key_is_for_its_owner_alone_and_is_never_overwritten_nor_shown(publisher: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    status, said, error = publisher.said("keygen", str(path))
    assert (status, said) == (1, "")
    assert "File exists" in error
    assert path.read_bytes() == before
    secret = before.decode().splitlines()[1]
    status, signed = publisher.sign("bundle", document("1.0.0"))
    assert status == 0
    assert secret not in publisher.public + Path(signed).read_text()


def test_what_does_not_load_is_not_signed(publisher: Publisher) -> None:
    for kind, raw, told in (
        ("bundle", document("1.0.0", (0, 1, 2)), f"{CATEGORY}.fixed: rises with intent"),
        ("overlay", overlay("acme", caps={"made.up": 1}), "caps.made.up: unknown category"),
        ("overlay", overlay("acme", "first"), "needs a version such as 1.4.0"),
    ):
        status, error = publisher.sign(kind, raw)
        assert status == 2
        assert told in error


@pytest.mark.parametrize("options", [[], ["--withdraw", "acme"]])
def test_sign_wants_a_document_or_what_to_withdraw(publisher: Publisher, options: list[str]) -> None:
    status, error = publisher.sign("overlay", None, *options)
    assert status == 2
    assert "--withdraw" in error


def test_a_file_that_is_no_key_is_not_shown(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text("-----BEGIN PRIVATE KEY-----\nnot-base64-at-all\n-----END PRIVATE KEY-----\n")
    status, error = publisher.sign("bundle", document("1.0.0"), key="other.pem")
    assert status == 2
    assert "Ed25519" in error
    assert "not-base64" not in error


@pytest.mark.kafka
def test_publications_reach_the_topic_only_where_they_have_an_effect(kafka: Kafka, publisher: Publisher) -> None:
    settings = publisher.connect(fresh_settings(kafka))
    (line,) = probe_policy(settings, 10)
    assert (line.mark, "policy sign" in line.mend) == (Mark.WRONG, True)

    (_, bundle), (_, tenant) = (
        publisher.sign("bundle", document("1.1.0", LOW)),
        publisher.sign("overlay", overlay("acme")),
    )
    status, said, _ = publisher.publish(bundle, tenant)
    assert status == 0
    assert "workers will use safe-completion-core@1.1.0#" in said
    assert "overlays: 1" in said
    line = next(iter(probe_policy(settings, 10)))
    assert (line.mark, "overlays: 1" in line.found) == (Mark.OK, True)

    _, other = publisher.sign("overlay", overlay("beta"))
    status, said, _ = publisher.publish(bundle, other)
    assert (status, "overlays: 2" in said) == (0, True)
    assert f"{bundle}: {settings.topics.policy} has it already; nothing was written" in " ".join(said.split())
    assert len(read_topic(settings.kafka, settings.topics.policy)) == 3

    _, lower = publisher.sign("bundle", document("1.0.0", HIGH))
    status, _, error = publisher.publish(lower)
    assert status == 2
    assert "lower than the version before it" in error
    _, back = publisher.sign("bundle", document("1.0.0", HIGH), "--rollback")
    status, said, _ = publisher.publish(back)
    assert status == 0
    assert "workers will use safe-completion-core@1.0.0#" in said

    _, withdrawn = publisher.sign("overlay", None, "--withdraw", "acme@1.0.0")
    status, said, _ = publisher.publish(withdrawn)
    assert (status, "overlays: 1" in said) == (0, True)


@pytest.mark.kafka
def test_an_altered_publication_is_not_published(kafka: Kafka, publisher: Publisher, tmp_path: Path) -> None:
    publisher.connect(fresh_settings(kafka))
    _, signed = publisher.sign("bundle", document("1.0.0"))
    envelope = msgspec.json.decode(Path(signed).read_bytes(), type=Envelope)
    altered = tmp_path / "altered"
    altered.write_bytes(msgspec.json.encode(msgspec.structs.replace(envelope, version="9.0.0")))
    status, _, error = publisher.publish(str(altered))
    assert status == 2
    assert "did not sign this" in error
