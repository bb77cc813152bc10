"""The Ray Serve LLM application that serves vLLM behind an OpenAI-compatible API, on GPUs or on the CPU.

Ray must be running and connected before anything here is called. Ray and vLLM are imported inside the functions.
"""

import importlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType

import msgspec
from msgspec import Meta, Struct

from serving.engine.options import Device, Progress, engine_environment, is_local_model
from topology.contract.errors import SettingsError

if TYPE_CHECKING:
    from ray.serve import Application

APPLICATION = "sluicegate-llm"
_POLL_INTERVAL_S = 0.5

BaseUrl = NewType("BaseUrl", str)


class LlmServing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model to serve, and its hardware. `model` is a hub name or a directory; clients ask for `served_name`.

    `engine` is passed to vLLM as it is (`enforce_eager`, `dtype`, `max_model_len`, `tensor_parallel_size`, …).
    `traces_endpoint` is the OTLP address that vLLM's own spans go to; empty means none.
    `accelerator_type` is Ray's name of a GPU type; empty means any.
    """

    model: str
    served_name: str
    device: Device = "gpu"
    accelerator_type: str = ""
    replicas: Annotated[int, Meta(ge=1)] = 1
    ingress_replicas: Annotated[int, Meta(ge=1)] = 1
    replica_cpus: Annotated[float, Meta(ge=0)] = 1.0
    ingress_cpus: Annotated[float, Meta(ge=0)] = 0.1
    engine: dict[str, object] = {}
    requests_in_flight_max: Annotated[int, Meta(ge=1)] = 256
    requests_queued_max: Annotated[int, Meta(ge=0)] = 1024
    stream_batching_ms: Annotated[int, Meta(ge=0)] = 10
    health_interval_s: Annotated[float, Meta(gt=0)] = 2.0
    health_timeout_s: Annotated[float, Meta(gt=0)] = 10.0
    kv_cache_gib: Annotated[int, Meta(ge=1)] = 1
    traces_endpoint: str = ""
    traces_protocol: Literal["grpc", "http/protobuf"] = "grpc"
    traces_are_plaintext: bool = True
    service_name: str = "sluicegate-llm"


def load_libraries() -> None:
    """Import Ray Serve LLM, and restore the caller's log handlers afterwards.

    The import replaces the root logger's handlers, and gives Serve's logger one that writes to standard error.
    """
    importlib.import_module("ray.serve.llm")
    serve = logging.getLogger("ray.serve")
    serve.handlers.clear()
    serve.propagate = True


def build_application(serving: LlmServing) -> "Application":
    """Build the Serve application; nothing runs yet.

    Raises SettingsError if a local model is named that does not exist; Serve would only say so after minutes.
    """
    if is_local_model(serving.model) and not (Path(serving.model) / "config.json").is_file():
        raise SettingsError("model", "a directory without config.json", "a directory with a checkpoint")
    from ray.serve.llm import LLMConfig, build_openai_app

    return build_openai_app(
        {
            "llm_configs": [LLMConfig(**_llm_config(serving))],
            "ingress_deployment_config": _ingress_options(serving),
        }
    )


def build_from_arguments(args: dict[str, Any]) -> "Application":
    """Build the application for a Serve configuration's `import_path`; `args` are the fields of `LlmServing`.

    Raises SettingsError if one of them is unknown or out of its bounds.
    """
    try:
        serving = msgspec.convert(args, LlmServing)
    except msgspec.ValidationError as exc:
        raise SettingsError("args", str(exc), "the fields of serving.engine.application.LlmServing") from exc
    return build_application(serving)


def _llm_config(serving: LlmServing) -> dict[str, Any]:
    config: dict[str, Any] = {
        "model_loading_config": {"model_id": serving.served_name, "model_source": serving.model},
        "engine_kwargs": _engine_options(serving),
        "deployment_config": _deployment_options(serving),
        "runtime_env": {"env_vars": _environment(serving)},
        "experimental_configs": {"stream_batching_interval_ms": serving.stream_batching_ms},
        "server_cls": "serving.engine.deployment:EngineServer",
        "log_engine_metrics": True,
    }
    if serving.device == "cpu":
        config["placement_group_config"] = {"bundles": [{"CPU": serving.replica_cpus}]}
        config["accelerator_config"] = {"kind": "cpu"}
    elif serving.accelerator_type:
        config["accelerator_type"] = serving.accelerator_type
    return config


def _engine_options(serving: LlmServing) -> dict[str, object]:
    options = dict(serving.engine)
    if serving.traces_endpoint:
        options["otlp_traces_endpoint"] = serving.traces_endpoint
    return options


def _deployment_options(serving: LlmServing) -> dict[str, Any]:
    return {
        "num_replicas": serving.replicas,
        "max_ongoing_requests": serving.requests_in_flight_max,
        "max_queued_requests": serving.requests_queued_max,
        "health_check_period_s": serving.health_interval_s,
        "health_check_timeout_s": serving.health_timeout_s,
        "ray_actor_options": {"num_cpus": 0},
    }


def _ingress_options(serving: LlmServing) -> dict[str, Any]:
    return {
        "num_replicas": serving.ingress_replicas,
        "max_ongoing_requests": serving.requests_in_flight_max * serving.replicas,
        "max_queued_requests": serving.requests_queued_max,
        "ray_actor_options": {"num_cpus": serving.ingress_cpus},
    }


def _environment(serving: LlmServing) -> dict[str, str]:
    variables = engine_environment(serving.model, device=serving.device, kv_cache_gib=serving.kv_cache_gib)
    if serving.traces_endpoint:
        variables["OTEL_SERVICE_NAME"] = serving.service_name
        variables["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = serving.traces_protocol
        variables["OTEL_EXPORTER_OTLP_TRACES_INSECURE"] = "true" if serving.traces_are_plaintext else "false"
    return variables


def start(
    serving: LlmServing,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    ready_timeout_s: float = 300.0,
    progress: Progress | None = None,
) -> BaseUrl:
    """Start serving and return the base URL of the OpenAI-compatible API once the model answers.

    Blocks up to `ready_timeout_s`. If the model does not answer in time, it stops what it started and raises
    TimeoutError; if the deployment failed for good, it raises RuntimeError with Serve's own message.
    """
    from ray import serve

    application = build_application(serving)
    serve.start(http_options={"host": host, "port": port}, proxy_location="HeadOnly")
    serve.run_many(
        [serve.RunTarget(target=application, name=APPLICATION, route_prefix="/")],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )
    try:
        wait_ready(ready_timeout_s, progress=progress)
    except (TimeoutError, RuntimeError):
        stop()
        raise
    return BaseUrl(f"http://{host}:{port}/v1")


def wait_ready(timeout_s: float, *, progress: Progress | None = None) -> None:
    """Wait until the application runs. Blocks up to `timeout_s`; raises TimeoutError or RuntimeError as `start`."""
    started_s = time.monotonic()
    while True:
        state, message = _application_state()
        waited_s = time.monotonic() - started_s
        if progress is not None:
            progress(state, waited_s)
        if state == "RUNNING":
            return
        if state == "DEPLOY_FAILED":
            raise RuntimeError(f"the LLM application could not be deployed: {message}")
        if waited_s >= timeout_s:
            raise TimeoutError(f"the LLM application is {state} after {waited_s:.0f} s")
        time.sleep(_POLL_INTERVAL_S)


def _application_state() -> tuple[str, str]:
    from ray import serve

    found = serve.status().applications.get(APPLICATION)
    return ("NOT_STARTED", "") if found is None else (found.status.value, found.message)


def stop() -> None:
    """Remove the application and Serve itself; Ray stays. Blocks until the replicas are gone."""
    from ray import serve

    serve.delete(APPLICATION, _blocking=True)
    serve.shutdown()
