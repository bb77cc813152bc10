"""From settings to objects: where stages run, which policy holds, how results are written, and what stops a start."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from serving.fakes import FakeCheck, FakeGenerator, FakeLabeler
from tests.checkout import ROOT
from tests.contracts.samples import check_input, event
from tests.plugins.actor_handles import ActorHandle
from tests.plugins.otlp_receiver import closed_endpoint
from tests.plugins.running_worker import logged
from topology.contract.drafts import CheckReport
from topology.contract.errors import PolicyError
from topology.contract.events import Action, AuditedResponse, AuditRecord
from topology.contract.names import CONTENT_TYPE_JSON, CONTENT_TYPE_MSGPACK, Header, Topic
from topology.contract.records import OutRecord, Record
from topology.policy.bundle import AgeDefault
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.ports import Check
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.assembly import build_pipeline, build_worker
from workers.kafka.errors import KafkaUnavailable
from workers.policy.files import load_policies
from workers.settings import (
    KafkaSettings,
    PolicySettings,
    RedactionSettings,
    Secret,
    Settings,
    StageSettings,
    StagesSettings,
    TelemetrySettings,
    TopicSettings,
)
from workers.stages.building import build_checks, build_stage, close_checks, text_digest
from workers.supervision.actors import StageHost

OVERLAY = "tenant_id: acme\nversion: '7'\n"


def settings_of(**changes: object) -> Settings:
    return structs.replace(Settings(), **changes)


def handle_of(name: str) -> ActorHandle:
    """Return a handle of a stage actor that lives in this process."""
    host = StageHost(Settings(), name)

    async def run(batch: bytes, policies: bytes = b"") -> bytes:
        return host.run(batch, policies)

    async def health() -> None: ...

    return ActorHandle(run, health)


def reports(settings: Settings, actors: dict[str, Sequence[Any]], *further: Check) -> list[CheckReport]:
    """What the checks that are built say of one draft, in order."""
    checks = build_checks(settings, actors, further, Instruments.none())

    async def session() -> list[CheckReport]:
        try:
            return await asyncio.gather(*(check.check(check_input()) for check in checks))
        finally:
            await close_checks(checks)

    return asyncio.run(session())


def test_each_stage_runs_where_its_placement_says_and_says_the_same_there() -> None:
    settings = settings_of(
        redaction=RedactionSettings(digest_key=Secret("key")),
        stages=StagesSettings(bias=StageSettings(placement="actor")),
    )
    handle = handle_of("bias")
    inline = reports(structs.replace(settings, stages=StagesSettings()), {})
    assert reports(settings, {"bias": [handle]}) == inline
    assert [report.check for report in inline] == ["classification", "bias", "logging"]
    assert handle.run.call_count == 2, "the second time with the policy, which it did not know"


def test_a_further_check_takes_part_after_the_stages() -> None:
    assert [report.check for report in reports(Settings(), {}, FakeCheck("guard_llm"))][3:] == ["guard_llm"]


def test_a_stage_without_a_class_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no stage"):
        build_stage(Settings(), "unheard-of")


def test_the_packaged_policy_holds_unless_settings_name_another(tmp_path: Path) -> None:
    packaged = load_policies(Settings())
    assert packaged.bundle == packaged_bundle()
    assert packaged.overlays == {}
    with pytest.raises(FileNotFoundError):
        load_policies(settings_of(policy=PolicySettings(bundle=str(tmp_path / "missing.yaml"))))


def test_a_setting_overrides_the_bundles_age_default_and_shows_in_the_reference() -> None:
    other = next(age for age in AgeDefault if age is not packaged_bundle().age_default)
    bundle = load_policies(settings_of(policy=PolicySettings(age_default=other.value))).bundle
    assert bundle.age_default is other
    assert bundle.ref != packaged_bundle().ref


def test_overlays_are_read_from_their_directory(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(OVERLAY)
    (tmp_path / "other.yaml").write_text(OVERLAY.replace("acme", "other"))
    (tmp_path / "notes.txt").write_text("not an overlay")
    overlays = load_policies(settings_of(policy=PolicySettings(overlays=str(tmp_path)))).overlays
    assert sorted(overlays) == ["acme", "other"]


def test_every_fault_of_every_overlay_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OVERLAY)
    (tmp_path / "b.yaml").write_text(OVERLAY)
    (tmp_path / "c.yaml").write_text("tenant_id: other\nversion: '1'\ncaps: {made.up: 1, imagined: 2}\n")
    (tmp_path / "d.yaml").write_text("nonsense: true\n")
    with pytest.raises(PolicyError) as caught:
        load_policies(settings_of(policy=PolicySettings(overlays=str(tmp_path))))
    assert caught.value.reasons[0] == "b.yaml: a second overlay of tenant acme; remove one of them"
    assert {reason.partition(":")[0] for reason in caught.value.reasons} == {"b.yaml", "c.yaml", "d.yaml"}
    assert "made.up" in str(caught.value)
    assert "imagined" in str(caught.value)


def processed(settings: Settings) -> Sequence[OutRecord]:
    """What one event ends as, with fakes for whoever answers."""
    checks = (FakeCheck("classification"), FakeCheck("bias"), FakeCheck("logging", logged))
    answers = FakeGenerator(lambda _: "A plain answer.")
    policies, metrics = Policies(packaged_bundle()), Instruments.none()
    pipeline = build_pipeline(settings, lambda: policies, FakeLabeler(), answers, checks, Tracing.none(), metrics)
    record = Record(
        topic=settings.topics.events,
        partition=0,
        offset=0,
        timestamp_ms=1,
        key=b"c-1",
        value=msgspec.json.encode(event()),
    )
    return asyncio.run(pipeline.process(record)).records


def test_results_go_to_the_topics_that_settings_name() -> None:
    settings = settings_of(topics=TopicSettings(audited="mine.audited"))
    assert {record.topic for record in processed(settings)} == {"mine.audited", Topic.AUDIT.value}


@pytest.mark.parametrize(
    ("wire", "content_type", "decode"),
    [("json", CONTENT_TYPE_JSON, msgspec.json.decode), ("msgpack", CONTENT_TYPE_MSGPACK, msgspec.msgpack.decode)],
    ids=["json", "msgpack"],
)
def test_results_are_written_in_the_form_that_settings_name(wire: Any, content_type: str, decode: Any) -> None:
    records = processed(settings_of(topics=TopicSettings(wire=wire)))
    kinds = {Topic.AUDITED.value: AuditedResponse, Topic.AUDIT.value: AuditRecord}
    for record in records:
        assert dict(record.headers)[Header.CONTENT_TYPE.value] == content_type.encode()
        assert decode(record.value, type=kinds[record.topic]).action is Action.PUBLISHED
    assert len(records) == 2


def test_digests_of_one_process_agree_with_a_key_and_without() -> None:
    keyed = settings_of(redaction=RedactionSettings(digest_key=Secret("key"), digest_key_id="k7"))
    assert text_digest(keyed)("text") == text_digest(keyed)("text")
    assert text_digest(keyed)("text").startswith("hmac-sha256:k7:")
    assert text_digest(Settings())("text") == text_digest(Settings())("text") != text_digest(keyed)("text")


def test_a_missing_digest_key_is_told_once_a_process() -> None:
    code = "from workers.stages import building as a; s = a.Settings(); a.text_digest(s); a.build_stage(s, 'logging')"
    root = ROOT
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stderr.count("no digest key is set") == 1


@pytest.fixture
def own_logging() -> Generator[None]:
    """Puts the root logger back as it was: a worker takes it over."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    yield
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("own_logging")
def test_a_worker_does_not_start_with_a_broken_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "bundle.yaml"
    bundle.write_text("version: '1'\n")
    with pytest.raises(PolicyError):
        build_worker(settings_of(policy=PolicySettings(bundle=str(bundle))), 0, {})
    assert "worker not built" in capsys.readouterr().out


@pytest.mark.usefixtures("own_logging")
def test_a_worker_that_cannot_be_built_leaves_nothing_running() -> None:
    endpoint = closed_endpoint()
    settings = settings_of(
        kafka=KafkaSettings(bootstrap_servers=(endpoint.removeprefix("http://"),), connect_timeout_s=0.2),
        telemetry=TelemetrySettings(endpoint=endpoint, export_timeout_s=0.5),
    )
    before = set(threading.enumerate())
    with pytest.raises(KafkaUnavailable):
        build_worker(settings, 0, {})
    left = {thread for thread in threading.enumerate() if thread not in before}
    for thread in left:
        thread.join(5)
    assert [thread.name for thread in left if thread.is_alive()] == []
