"""The settings for running, observing and stopping workers, and of the door."""

from typing import Annotated

from msgspec import Meta, Struct

from topology.contract.names import SERVICE
from workers.settings.secret import Secret
from workers.settings.types import (
    Bytes,
    ConsumeRelationship,
    Count,
    LogLevel,
    Name,
    OtlpProtocol,
    Preset,
    Seconds,
    Text,
    Url,
    about,
)


class TelemetrySettings(Struct, frozen=True, kw_only=True):
    """Traces, metrics and logs."""

    enabled: Annotated[bool, about("Off: no spans and no metrics.")] = True
    endpoint: Annotated[
        Url, about("OTLP endpoint without `/v1/traces`, or `host:port`; empty: nothing is exported.")
    ] = ""
    protocol: Annotated[OtlpProtocol, about("OTLP over HTTP (protobuf) or gRPC.")] = "http"
    headers: Annotated[Secret, about("Headers for the endpoint: `name=value,name=value`, values percent-encoded.")] = (
        Secret()
    )
    preset: Annotated[
        Preset,
        about("`full`: every event, for a collector that samples; `ratio`: a share of events, and every flagged one."),
    ] = "ratio"
    ratio: Annotated[float, Meta(ge=0, le=1, description="Share of events traced under `ratio`.")] = 0.05
    consume_relationship: Annotated[
        ConsumeRelationship, about("Use the chat service's span as the parent of the event's span, or only link to it.")
    ] = "parent"
    push_metrics: Annotated[
        bool,
        about("Push metrics to the endpoint too. Turn it off for backends that take only traces: they refuse metrics."),
    ] = True
    export_interval_s: Annotated[Seconds, about("Time between two pushes of metrics.")] = 10
    queue_max: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Spans that wait for export; further ones are dropped.")
    ] = 4096
    export_timeout_s: Annotated[Seconds, about("Timeout of one export.")] = 5
    service_name: Annotated[Name, about("`service.name`.")] = SERVICE
    environment: Annotated[Text, about("`deployment.environment.name`; empty: not sent.")] = ""
    capture_content: Annotated[
        bool,
        about("Put redacted conversation text on spans. Leave it off unless you may store user text in the backend."),
    ] = False
    openinference: Annotated[
        bool, about("Add `openinference.span.kind`, by which backends such as Phoenix group spans.")
    ] = False
    log_level: Annotated[LogLevel, about("Lowest level that is logged.")] = "INFO"
    lag_warning_s: Annotated[
        Seconds, about("Age of the oldest event read and not committed beyond which the log says so.")
    ] = 60
    standstill_warning_s: Annotated[
        Seconds,
        about("Time that a partition may stand still, although it is not read to its end, before the log says so."),
    ] = 120


class RaySettings(Struct, frozen=True, kw_only=True):
    """The Ray cluster, and how the supervisor watches its actors."""

    address: Annotated[Text, about("Address of the cluster to join; empty: start a local one.")] = ""
    slots: Annotated[int, Meta(ge=1, le=1000, description="Number of stream workers.")] = 1
    slot_start: Annotated[int, Meta(ge=0, le=1_000_000, description="Slot of the first stream worker.")] = 0
    restarts_max: Annotated[int, Meta(ge=-1, le=1_000_000, description="Restarts per actor; -1: no limit.")] = -1
    health_interval_s: Annotated[Seconds, about("Time between two health checks of an actor.")] = 2
    health_timeout_s: Annotated[Seconds, about("Timeout of a health check.")] = 5
    unhealthy_after: Annotated[
        int, Meta(ge=1, le=100, description="Consecutive failed health checks after which an actor is replaced.")
    ] = 3
    restart_backoff_max_s: Annotated[Seconds, about("Longest wait between two restarts of an actor.")] = 10
    start_timeout_s: Annotated[Seconds, about("Time within which an actor must become ready.")] = 120
    logical_cpus: Annotated[
        int, Meta(ge=0, le=4096, description="CPUs that a local cluster reports; 0: enough for its actors.")
    ] = 0


class DrainSettings(Struct, frozen=True, kw_only=True):
    """The orderly stop of a worker."""

    timeout_s: Annotated[Seconds, about("Time that in-flight events may take; unfinished ones stay uncommitted.")] = 30


class AgentSettings(Struct, frozen=True, kw_only=True):
    """The port of a node: probes, metrics, status, drain."""

    host: Annotated[Name, about("Address to listen on; in a pod `0.0.0.0`.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port to listen on; 0: no agent.")] = 9464
    token: Annotated[Secret, about("Token that `POST /drain` must present; empty: every such request is refused.")] = (
        Secret()
    )
    request_timeout_s: Annotated[
        Seconds, about("Time for a whole request to arrive, from the opening of its connection; then it is closed.")
    ] = 5
    connections_max: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Open connections in all; beyond it, the oldest whose request is incomplete is closed.",
        ),
    ] = 64
    connections_per_peer_max: Annotated[
        int, Meta(ge=1, le=10_000, description="Open connections from one address, by the same rule.")
    ] = 16
    beat_max_s: Annotated[Seconds, about("Liveness fails if the actors have not been checked for this long.")] = 30
    scrape_timeout_s: Annotated[Seconds, about("Time for collecting the actors' metrics; late ones are left out.")] = 5


class DoorSettings(Struct, frozen=True, kw_only=True):
    """The door: an OpenAI-compatible HTTP way in, which `sluicegate door` opens."""

    host: Annotated[Name, about("Address to listen on; in a pod `0.0.0.0`.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port to listen on; 0: any free one.")] = 8800
    metrics_port: Annotated[
        int,
        Meta(ge=0, le=65_535, description="Port of `/metrics`, on the same address, without TLS or keys; 0: none."),
    ] = 9465
    tls_certfile: Annotated[Text, about("File of the server's certificate (PEM); empty: no TLS.")] = ""
    tls_keyfile: Annotated[Text, about("File of the certificate's key (PEM).")] = ""
    cors_origin: Annotated[Text, about("Origin whose pages may call the door from a browser; empty: none.")] = ""
    keys_file: Annotated[Text, about("File of the API keys (TOML), by hash; read again when it changes.")] = ""
    digest_key: Annotated[
        Secret, about("Key of the ids that the door makes; the same for all doors. `sluicegate door` requires it.")
    ] = Secret()
    models: Annotated[
        tuple[Name, ...],
        Meta(min_length=1, max_length=64, description="Names of models that clients may ask for."),
    ] = ("sluicegate",)
    deadline_s: Annotated[Seconds, about("Deadline of each event; 2 s later its request ends, whatever happens.")] = 60
    disconnect_grace_s: Annotated[
        Seconds, about("Time after which an event is cancelled that no client waits for any more.")
    ] = 5
    replay_s: Annotated[
        Seconds, about("How far back answers are known, so that a repeated request gets the same one.")
    ] = 600
    index_max: Annotated[Count, about("Most answers that are known; the oldest are forgotten first.")] = 100_000
    streams: Annotated[
        bool, about("With `stream: true` text is sent while it is made; workers need `streaming.enabled`.")
    ] = False
    streams_bytes_max: Annotated[Bytes, about("Most bytes of unfinished answers that a door keeps to show.")] = (
        64 * 1024 * 1024
    )
    waiting_max: Annotated[Count, about("Most events under way; further requests are answered 503.")] = 1_000
    body_bytes_max: Annotated[Bytes, about("Longest body of a request, whatever its key allows.")] = 1024 * 1024
    header_bytes_max: Annotated[Bytes, about("Longest request line and headers together.")] = 16 * 1024
    request_timeout_s: Annotated[
        Seconds, about("Time for a whole request to arrive, from the opening of its connection; then it is closed.")
    ] = 10
    connections_max: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Open connections in all; beyond it, the oldest whose request is incomplete is closed.",
        ),
    ] = 2_000
    connections_per_peer_max: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Open connections from one address, by the same rule; behind a proxy all have its address.",
        ),
    ] = 500
