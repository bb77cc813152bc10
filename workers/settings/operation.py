"""Settings of how a worker is run, watched and stopped."""

from typing import Annotated

from msgspec import Meta, Struct

from topology.contract.names import SERVICE
from workers.settings.secret import Secret
from workers.settings.types import ConsumeRelationship, LogLevel, Name, OtlpProtocol, Preset, Seconds, Text, Url, about


class TelemetrySettings(Struct, frozen=True, kw_only=True):
    """Traces, metrics and logs."""

    enabled: Annotated[bool, about("Off: no spans and no metrics at all.")] = True
    endpoint: Annotated[Url, about("OTLP endpoint without `/v1/traces`; empty: nothing is exported.")] = ""
    protocol: Annotated[OtlpProtocol, about("OTLP over HTTP (protobuf) or gRPC.")] = "http"
    headers: Annotated[Secret, about("Headers for the endpoint: `name=value,name=value`.")] = Secret()
    preset: Annotated[
        Preset, about("`full`: every event, for a collector that samples; `ratio`: a share, and what was flagged.")
    ] = "ratio"
    ratio: Annotated[float, Meta(ge=0, le=1, description="Share of events traced under `ratio`.")] = 0.05
    consume_relationship: Annotated[
        ConsumeRelationship, about("Make the chat service's span our parent, or only link to it.")
    ] = "parent"
    push_metrics: Annotated[
        bool, about("Push metrics to the endpoint too; off for backends of traces alone, which refuse them.")
    ] = True
    export_interval_s: Annotated[Seconds, about("How often metrics are pushed.")] = 10
    queue_max: Annotated[int, Meta(ge=1, le=1_000_000, description="Spans held for export; more are dropped.")] = 4096
    export_timeout_s: Annotated[Seconds, about("One export.")] = 5
    service_name: Annotated[Name, about("`service.name`.")] = SERVICE
    environment: Annotated[Text, about("`deployment.environment.name`; empty: not sent.")] = ""
    capture_content: Annotated[
        bool, about("Put conversation text on spans, redacted. Off unless you may store user text there.")
    ] = False
    openinference: Annotated[
        bool, about("Add `openinference.span.kind`, for backends such as Phoenix that group spans by it.")
    ] = False
    log_level: Annotated[LogLevel, about("Least severe level that is logged.")] = "INFO"


class RaySettings(Struct, frozen=True, kw_only=True):
    """The Ray cluster, and how the supervisor watches its actors."""

    address: Annotated[Text, about("Cluster to join; empty: start a local one.")] = ""
    slots: Annotated[int, Meta(ge=1, le=1000, description="Stream workers.")] = 1
    slot_start: Annotated[int, Meta(ge=0, le=1_000_000, description="Slot of the first stream worker.")] = 0
    restarts_max: Annotated[int, Meta(ge=-1, le=1_000_000, description="Restarts per actor; -1: no limit.")] = -1
    health_interval_s: Annotated[Seconds, about("How often each actor is asked.")] = 2
    health_timeout_s: Annotated[Seconds, about("How long it may take to answer.")] = 5
    unhealthy_after: Annotated[int, Meta(ge=1, le=100, description="Failures in a row that replace an actor.")] = 3
    restart_backoff_max_s: Annotated[Seconds, about("Longest wait between restarts of one actor.")] = 10
    start_timeout_s: Annotated[Seconds, about("How long an actor may take to become ready.")] = 120
    logical_cpus: Annotated[
        int, Meta(ge=0, le=4096, description="CPUs that a local cluster claims to have; 0: by number of actors.")
    ] = 0


class DrainSettings(Struct, frozen=True, kw_only=True):
    """How a worker stops."""

    timeout_s: Annotated[Seconds, about("How long events under way may take; the rest is left uncommitted.")] = 30


class AgentSettings(Struct, frozen=True, kw_only=True):
    """The port of a node: probes, metrics, status, drain."""

    host: Annotated[Name, about("Address to listen on; in a pod `0.0.0.0`.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port to listen on; 0: no agent.")] = 9464
    token: Annotated[Secret, about("What `POST /drain` must present; empty: it is refused.")] = Secret()
    beat_max_s: Annotated[Seconds, about("Liveness fails where nobody has looked at the actors for so long.")] = 30
    scrape_timeout_s: Annotated[Seconds, about("How long the actors' metrics may take; what is late is left out.")] = 5
