"""The probe of the OTLP endpoint: its port opens, and it accepts an export without spans."""

import asyncio
import os
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from workers.commands.check.failures import TlsKeys, in_words, tls_mend
from workers.commands.check.listeners import port_trouble
from workers.commands.check.probe import Line, ok, unused, wrong
from workers.settings import Settings, TelemetrySettings
from workers.telemetry.exporting import header_pairs

PORTS = {"http": 80, "https": 443}
PORT_SHARE = 0.4
"""The share of the time for opening the port."""

_WHAT = "telemetry"
_START = "start the collector, or set telemetry.endpoint (empty: nothing is exported)"
_OTHER = "is telemetry.protocol (http, usually port 4318; grpc, usually 4317) right for this port?"


def probe_collector(settings: Settings, timeout_s: float) -> Iterator[Line]:
    """Check the endpoint, if the settings name one."""
    telemetry = settings.telemetry
    if not telemetry.enabled or not telemetry.endpoint:
        why = "telemetry.endpoint is empty" if telemetry.enabled else "telemetry.enabled is false"
        yield unused(_WHAT, f"{why}: nothing is exported")
        return
    url = urlsplit(telemetry.endpoint)
    host, port = url.hostname or "", url.port or PORTS[url.scheme]
    if trouble := port_trouble(host, port, timeout_s * PORT_SHARE, _START):
        yield wrong(_WHAT, trouble.found, trouble.mend)
        return
    rest_s = timeout_s * (1 - PORT_SHARE)
    if any(not (name + value).isascii() or not (name + value).isprintable() for name, value in header_pairs(telemetry)):
        yield wrong(_WHAT, "a header cannot be sent: not printable ASCII", "check the file of telemetry.headers_file")
    elif telemetry.protocol == "grpc":
        yield _over_grpc(telemetry, rest_s)
    else:
        yield asyncio.run(_over_http(telemetry, rest_s))


async def _over_http(telemetry: TelemetrySettings, timeout_s: float) -> Line:
    url = telemetry.endpoint.rstrip("/") + "/v1/traces"
    headers = {"Content-Type": "application/x-protobuf", **dict(header_pairs(telemetry))}
    try:
        # An export without spans is an empty message, which has no bytes.
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, data=b"", allow_redirects=False) as response,
        ):
            return _answered(url, response.status)
    except TimeoutError:
        return wrong(_WHAT, f"{url}: the port opens, but no answer within {timeout_s:.1f} s", _OTHER)
    except aiohttp.ClientConnectorError as exc:  # a certificate error is another class
        return _unreached(url, exc.os_error)
    except aiohttp.ClientConnectorCertificateError as exc:
        return _unreached(url, exc.certificate_error)
    except aiohttp.ClientError as exc:
        return wrong(_WHAT, f"{url}: the answer is not HTTP ({type(exc).__name__})", _OTHER)


def _answered(url: str, status: int) -> Line:
    if status in {200, 202}:
        return ok(_WHAT, f"{url} accepts spans")
    if status in {401, 403}:
        return wrong(_WHAT, f"{url}: HTTP {status}, access denied", "set telemetry.headers_file")
    return wrong(
        _WHAT, f"{url}: HTTP {status}", "set telemetry.endpoint without /v1/traces; does the collector accept traces?"
    )


def _unreached(url: str, error: Exception) -> Line:
    mend = tls_mend(error, TlsKeys(), _OTHER) if isinstance(error, ssl.SSLError) else _START
    return wrong(_WHAT, f"{url}: {in_words(error)}", mend)


def _over_grpc(telemetry: TelemetrySettings, timeout_s: float) -> Line:
    # gRPC's core writes lines to standard error; the same reasons come back as errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    endpoint = telemetry.endpoint
    address = urlsplit(endpoint).netloc
    insecure = endpoint.startswith("http://")
    channel = grpc.insecure_channel(address) if insecure else grpc.secure_channel(address, _credentials(grpc))
    with channel:
        stub = trace_service_pb2_grpc.TraceServiceStub(channel)
        request = trace_service_pb2.ExportTraceServiceRequest()
        try:
            stub.Export(request, timeout=timeout_s, metadata=header_pairs(telemetry))
        except grpc.RpcError as exc:
            return _grpc_refusal(endpoint, exc)
    return ok(_WHAT, f"{endpoint} accepts spans")


def _credentials(grpc: Any) -> Any:
    return grpc.ssl_channel_credentials()


def _grpc_refusal(endpoint: str, error: Any) -> Line:
    """Explain an RpcError; its type is Any because grpc has no type information."""
    code = error.code().name
    match code:
        case "UNAUTHENTICATED" | "PERMISSION_DENIED":
            mend = "set telemetry.headers_file"
        case "UNIMPLEMENTED":
            mend = "does the collector accept traces? " + _OTHER
        case "UNAVAILABLE" | "DEADLINE_EXCEEDED":
            mend = f"{_OTHER} Does the port speak TLS (https)?"
        case _:
            mend = "read the collector's log"
    return wrong(_WHAT, f"{endpoint}: gRPC {code}", mend)
