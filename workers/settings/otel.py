"""OpenTelemetry's own variables, read as settings of `telemetry`: all of those that have a meaning here.

They are weaker than a settings file. A value that could not be followed is refused by its variable's name, so that
nobody believes that it is in force. `OTEL_RESOURCE_ATTRIBUTES` and the files of certificates are read by the SDK too.
"""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from msgspec import Struct

from topology.contract.errors import SettingsError

_OTLP: Final = "OTEL_EXPORTER_OTLP_"
_PATHS: Final = {"TRACES": "/v1/traces", "METRICS": "/v1/metrics"}
_PROTOCOLS: Final = {"grpc": "grpc", "http/protobuf": "http"}
_COMPRESSIONS: Final = ("gzip",)
_EXPORTERS: Final = ("otlp", "none")
_ALWAYS: Final = ("always_on", "parentbased_always_on")
_RATIO: Final = ("traceidratio", "parentbased_traceidratio")
_LIMITS: Final = tuple(
    f"OTEL_{part}_LIMIT"
    for part in (
        *("ATTRIBUTE_COUNT", "ATTRIBUTE_VALUE_LENGTH", "SPAN_ATTRIBUTE_COUNT", "SPAN_ATTRIBUTE_VALUE_LENGTH"),
        *("EVENT_ATTRIBUTE_COUNT", "LINK_ATTRIBUTE_COUNT", "SPAN_EVENT_COUNT", "SPAN_LINK_COUNT"),
    )
)
"""No settings: the SDK reads them by itself, and ends a process for one that is no number, an empty one included."""
_NO_LIMIT: Final = "unset"


class OtelValue(Struct, frozen=True):
    """A value for the setting `key`, and the variable that gave it; a `problem` in place of a value if it cannot be."""

    key: str
    value: str
    origin: str
    problem: str = ""

    def error(self) -> SettingsError:
        """Return the problem, under the variable's name."""
        return SettingsError(self.origin, repr(self.value), self.problem)


def otel_values(environ: Mapping[str, str]) -> Iterator[OtelValue]:
    """Yield what the variables say, one value for each setting at most, or what is wrong with one of them."""
    given = {name: value.strip() for name, value in environ.items() if name.startswith("OTEL_") and value.strip()}
    yield from _endpoints(given)
    yield from _protocols(given)
    yield from _resource(given)
    yield from _sampling(given)
    if headers := given.get(f"{_OTLP}HEADERS"):
        yield OtelValue("telemetry.headers", headers, f"{_OTLP}HEADERS")
    for name, key in (
        (f"{_OTLP}TIMEOUT", "telemetry.export_timeout_s"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "telemetry.export_interval_s"),
    ):
        if name in given:
            yield _seconds(key, given[name], name)
    if "OTEL_BSP_MAX_QUEUE_SIZE" in given:
        yield OtelValue("telemetry.queue_max", given["OTEL_BSP_MAX_QUEUE_SIZE"], "OTEL_BSP_MAX_QUEUE_SIZE")
    for name in _LIMITS:
        limit = environ.get(name, _NO_LIMIT).strip().lower()
        if limit != _NO_LIMIT and not (limit.isascii() and limit.isdigit()):
            yield OtelValue(name, limit, name, f"a whole number of at least 0, or {_NO_LIMIT}")
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield OtelValue("telemetry.enabled", "false", "OTEL_SDK_DISABLED")
    for signal in _PATHS:
        yield from _only(given, f"{_OTLP}{signal}_HEADERS", (given.get(f"{_OTLP}HEADERS", ""),), "headers")
    for prefix in (_OTLP, *(f"{_OTLP}{signal}_" for signal in _PATHS)):
        yield from _only(given, f"{prefix}COMPRESSION", _COMPRESSIONS, "push_metrics")


def bare_url(text: str) -> str:
    """Return a URL; `host:port`, as gRPC's exporters take it, becomes one without TLS."""
    host, _, port = text.rpartition(":")
    return f"http://{text}" if host and port.isdigit() and "/" not in text else text


def _endpoints(given: Mapping[str, str]) -> Iterator[OtelValue]:
    """Yield the one endpoint: the general one, or that of which the signals' own ones are parts."""
    general = given.get(f"{_OTLP}ENDPOINT", "")
    if general:
        yield OtelValue("telemetry.endpoint", bare_url(general), f"{_OTLP}ENDPOINT")
    bases: dict[str, str] = {}
    for signal, path in _PATHS.items():
        name = f"{_OTLP}{signal}_ENDPOINT"
        if own := bare_url(given.get(name, "")):
            bases[signal] = own.removesuffix("/").removesuffix(path)
    for signal, base in bases.items():
        if base != (bare_url(general).removesuffix("/") or next(iter(bases.values()))):
            wanted = "that of telemetry.endpoint: spans and metrics go to one endpoint"
            yield OtelValue(
                "telemetry.endpoint", given[f"{_OTLP}{signal}_ENDPOINT"], f"{_OTLP}{signal}_ENDPOINT", wanted
            )
            return
    if general or not bases:
        return
    signal, base = next(iter(bases.items()))
    yield OtelValue("telemetry.endpoint", base, f"{_OTLP}{signal}_ENDPOINT")
    if "METRICS" not in bases:
        yield OtelValue("telemetry.push_metrics", "false", f"{_OTLP}{signal}_ENDPOINT")


def _protocols(given: Mapping[str, str]) -> Iterator[OtelValue]:
    names = [name for name in (f"{_OTLP}PROTOCOL", *(f"{_OTLP}{each}_PROTOCOL" for each in _PATHS)) if name in given]
    for name in names:
        protocol = _PROTOCOLS.get(given[name])
        if protocol is None:
            yield OtelValue("telemetry.protocol", given[name], name, "grpc or http/protobuf")
            return
        if given[name] != given[names[0]]:
            yield OtelValue("telemetry.protocol", given[name], name, f"that of {names[0]}: there is one endpoint")
            return
    if names:
        yield OtelValue("telemetry.protocol", _PROTOCOLS[given[names[0]]], names[0])


def _resource(given: Mapping[str, str]) -> Iterator[OtelValue]:
    """Yield the service's name and environment; a resource's other attributes are the SDK's matter."""
    name = "OTEL_RESOURCE_ATTRIBUTES"
    pairs = (pair.partition("=") for pair in given.get(name, "").split(","))
    attributes = {key.strip(): unquote(value.strip()) for key, _, value in pairs}
    if "OTEL_SERVICE_NAME" in given:
        yield OtelValue("telemetry.service_name", given["OTEL_SERVICE_NAME"], "OTEL_SERVICE_NAME")
    elif attributes.get("service.name"):
        yield OtelValue("telemetry.service_name", attributes["service.name"], name)
    if environment := attributes.get("deployment.environment.name"):
        yield OtelValue("telemetry.environment", environment, name)


def _sampling(given: Mapping[str, str]) -> Iterator[OtelValue]:
    name, argument = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
    sampler = given.get(name, "")
    if sampler in _ALWAYS:
        yield OtelValue("telemetry.preset", "full", name)
    elif sampler in _RATIO:
        yield OtelValue("telemetry.preset", "ratio", name)
        yield OtelValue("telemetry.ratio", given.get(argument, "1"), argument if argument in given else name)
    elif sampler:
        yield OtelValue("telemetry.preset", sampler, name, "one of " + ", ".join((*_ALWAYS, *_RATIO)))
    yield from _only(given, "OTEL_TRACES_EXPORTER", ("otlp",), "endpoint")
    yield from _only(given, "OTEL_METRICS_EXPORTER", _EXPORTERS, "push_metrics")
    if given.get("OTEL_METRICS_EXPORTER") == "none":
        yield OtelValue("telemetry.push_metrics", "false", "OTEL_METRICS_EXPORTER")


def _seconds(key: str, text: str, origin: str) -> OtelValue:
    """Return milliseconds as seconds."""
    if not text.isdigit():
        return OtelValue(key, text, origin, "a whole number of milliseconds")
    return OtelValue(key, str(int(text) / 1000), origin)


def _only(given: Mapping[str, str], name: str, known: tuple[str, ...], key: str) -> Iterator[OtelValue]:
    """Yield a problem for a variable that has another value than a known one."""
    if name in given and given[name] not in known:
        words = " or ".join(each for each in known if each) or "empty"
        if name.endswith("HEADERS"):
            yield OtelValue(f"telemetry.{key}", "***", name, f"the same as {_OTLP}HEADERS: there is one endpoint")
            return
        yield OtelValue(f"telemetry.{key}", given[name], name, words)
