"""The real parts of the demo, started on loopback and stopped at the end of the block that started them."""

import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from topology.contract.errors import SluicegateError
from workers.commands.demo.rounds import Model
from workers.kafka.errors import KafkaUnavailable
from workers.settings import KafkaSettings, Secret, SecretSource, Settings, StagesSettings
from workers.settings.secret import SourceKind
from workers.stages.turn_marks import NONE

logger = logging.getLogger("sluicegate.demo")

Say = Callable[[str], None]

PARTITIONS = 4
OVERLAYS = Path(__file__).parent / "overlays"
READY_TIMEOUT_S = 400.0
"""The longest start of the model server. It mostly imports vLLM, for about 95 s on two cores."""

SMALL_DEADLINE_S = 280.0
"""The time of an answer of SmolLM2: two cores write some 30 tokens a second for all conversations together."""

BROKER_PORT = 9092
"""The port of the demo's broker if it is free: the one that everyone tries first."""

BOOTSTRAP = "KAFKA_BOOTSTRAP_SERVERS"

CONNECT_TIMEOUT_S = 5.0
"""The longest wait for a port of the user's own brokers to open."""

NAMES_WAIT_S, NAMES_POLL_S = 20.0, 0.2
"""The longest wait until Ray has forgotten an actor that ended, and the time between two looks."""


def cache_directory() -> Path:
    """Return the directory that is kept between runs: `SLUICEGATE_CACHE`, else in the user's cache directory."""
    return Path(os.environ.get("SLUICEGATE_CACHE") or Path.home() / ".cache" / "sluicegate")


@dataclass(frozen=True, slots=True)
class Brokers:
    """Running brokers. `second_reader` reads a topic with another client; None if there is no such client."""

    kafka: KafkaSettings
    second_reader: Callable[[str], list[str]] | None = None


@contextmanager
def kafka_brokers(settings: KafkaSettings, directory: Path, say: Say) -> Generator[Brokers]:
    """Yield running brokers: the user's own, or a development broker that runs as long as the block.

    Raises BrokerError if that cannot be started, with what to do about it, and KafkaUnavailable if none of the user's
    own brokers has an open port.
    """
    if os.environ.get(BOOTSTRAP):
        say(f"using the brokers of {BOOTSTRAP}: {', '.join(settings.bootstrap_servers)}")
        require_open_port(settings.bootstrap_servers)
        yield Brokers(settings)
        return
    from workers.development.broker import DevelopmentBroker

    shutil.rmtree(directory, ignore_errors=True)
    broker = DevelopmentBroker(directory, port=BROKER_PORT if _is_free(BROKER_PORT) else 0, say=say)
    broker.start()
    try:
        yield Brokers(structs.replace(settings, bootstrap_servers=(broker.bootstrap,)), broker.console_consumer)
    finally:
        broker.stop()


def require_open_port(servers: Sequence[str]) -> None:
    """Raise KafkaUnavailable if no server listens; Kafka's client would ask for a minute."""
    refused: list[str] = []
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
        except (OSError, UnicodeError) as exc:
            refused.append(f"{server}: {getattr(exc, 'strerror', None) or type(exc).__name__}")
        else:
            return
    raise KafkaUnavailable("demo", "; ".join(refused))


@contextmanager
def mock_brokers(settings: KafkaSettings) -> Generator[Brokers]:
    """Yield librdkafka's mock cluster: in memory, and without real transactions."""
    from workers.development.mock_broker import MockBroker

    with MockBroker() as broker:
        yield Brokers(structs.replace(settings, bootstrap_servers=(broker.bootstrap,), api_version=broker.api_version))


@contextmanager
def scripted_model() -> Generator[str]:
    """Yield the base URL of the scripted model, which knows the samples' questions."""
    from workers.commands.demo.scripted_model import ScriptedModel, running
    from workers.commands.demo.scripts import sample_scripts
    from workers.commands.demo.story.examples import example_scripts

    with running(ScriptedModel((*sample_scripts(), *example_scripts()))) as url:
        yield url


@contextmanager
def removed_topics(settings: Settings) -> Generator[None]:
    """Remove the run's own topics and group from the user's brokers after the block; what stays is logged."""
    from workers.kafka.topics import delete_topics

    try:
        yield
    finally:
        try:
            delete_topics(settings.kafka, settings.topics)
        except SluicegateError as exc:
            logger.warning("topics of this run are left on the brokers: %s", exc)


@contextmanager
def language_model(
    model: Model,
    traces_endpoint: str,
    traces_protocol: str,
    progress: Callable[[str, float], None],
    restore_logging: Callable[[], None],
) -> Generator[str]:
    """Yield the base URL of real vLLM under Ray Serve, with a small model on the CPU. Ray must be running.

    Raises TimeoutError or RuntimeError if it does not start, SettingsError if SmolLM2 was not fetched.
    """
    from serving.engine.application import LlmServing, load_libraries, start, stop
    from serving.engine.options import SMALL_ENGINE, TINY_ENGINE

    checkpoint = built_checkpoint(model)
    load_libraries()
    restore_logging()
    is_http = traces_protocol == "http"
    serving = LlmServing(
        model=str(checkpoint),
        served_name=model.value,
        device="cpu",
        engine=TINY_ENGINE if model is Model.TINY else SMALL_ENGINE,
        traces_endpoint=f"{traces_endpoint}/v1/traces" if is_http else traces_endpoint,
        traces_protocol="http/protobuf" if is_http else "grpc",
    )
    url = start(serving, port=free_port(), ready_timeout_s=READY_TIMEOUT_S, progress=progress)
    try:
        yield url
    finally:
        stop()


def demo_settings(
    base: Settings, kafka: KafkaSettings, directory: Path, *, own_brokers: bool, is_streaming: bool, otlp: str
) -> Settings:
    """Return the settings of the run: its own group, its own topics on the user's brokers, everything traced.

    `with_model` adds the model that answers.
    """
    run = uuid.uuid4().hex[:6]
    topics = structs.replace(base.topics, partitions=PARTITIONS)
    if own_brokers:
        names = (
            "events",
            "audited",
            "audit",
            "review",
            "state",
            "canary",
            "usage",
            "policy",
            "dead_letters",
            "cancel",
            "stream",
        )
        topics = structs.replace(topics, **{name: f"demo-{run}.{getattr(topics, name)}" for name in names})
    actor = structs.replace(base.stages.classification, placement="actor")
    return structs.replace(
        base,
        kafka=structs.replace(kafka, group_id=f"sluicegate-demo-{run}", cluster_name="demo"),
        topics=topics,
        streaming=structs.replace(base.streaming, enabled=is_streaming),
        policy=structs.replace(base.policy, overlays=base.policy.overlays or str(OVERLAYS)),
        stages=StagesSettings(classification=actor, bias=base.stages.bias, logging=base.stages.logging),
        redaction=structs.replace(base.redaction, digest_key=_digest_key(directory), digest_key_id="demo"),
        telemetry=structs.replace(
            base.telemetry,
            endpoint=base.telemetry.endpoint or otlp,
            preset="full",
            push_metrics=base.telemetry.push_metrics and bool(base.telemetry.endpoint),  # `otlp` takes traces alone
            export_interval_s=2.0,
        ),
    )


def _digest_key(directory: Path) -> Secret:
    """Return a new key, in a file that actors can read and nobody else can."""
    path = directory / "digest-key"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(uuid.uuid4().hex)
    return Secret(None, SecretSource(SourceKind.FILE, str(path.absolute())))


def with_model(settings: Settings, model: Model, base_url: str) -> Settings:
    """Return the settings of a run that `model` answers, with short answers: longer ones would only cost time."""
    generation = structs.replace(
        settings.generation,
        base_url=base_url,
        model=model.value,
        max_tokens=64,
        tokenizer=str(_checkpoint(model)) if model.is_vllm else "",
        turn_marks=() if model.is_vllm else (NONE,),
    )
    if model is not Model.SMALL:
        return structs.replace(settings, generation=generation)
    generation = structs.replace(generation, request_timeout_s=SMALL_DEADLINE_S)
    limits = structs.replace(settings.limits, deadline_default_s=SMALL_DEADLINE_S)
    return structs.replace(settings, generation=generation, limits=limits)


def built_checkpoint(model: Model) -> Path:
    """Return the directory of the model's checkpoint, made on the first call and kept in the cache."""
    from serving.engine.small_checkpoint import build_small_checkpoint
    from serving.engine.tiny_checkpoint import build_tiny_checkpoint

    build = build_tiny_checkpoint if model is Model.TINY else build_small_checkpoint
    return build(_checkpoint(model))


def _checkpoint(model: Model) -> Path:
    return cache_directory() / ("tiny-checkpoint" if model is Model.TINY else "smollm2-135m-instruct")


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_gone(names: set[str]) -> None:
    """Wait until no actor has one of these names, which end in the supervisor's own. Raises TimeoutError."""
    import ray

    deadline_s = time.monotonic() + NAMES_WAIT_S
    while any(known.endswith(f".{name}") for known in ray.util.list_named_actors() for name in names):
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"Ray still lists the ended actors after {NAMES_WAIT_S:g} s")
        time.sleep(NAMES_POLL_S)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
