"""The client against an endpoint that misbehaves over a real socket."""

import asyncio
import datetime as dt
import ssl
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import TypeVar

import msgspec
import pytest
from aiohttp import client_exceptions, http_exceptions

from serving.endpoint.breaker import BreakerState
from serving.endpoint.client import Call, ChatClient, Endpoint
from serving.endpoint.completion import ChatBody, ChatTurn, Completion
from serving.endpoint.outcomes import CAUGHT, ERRORS, is_the_requests_fault, outcome_of_error, outcome_of_status
from serving.endpoint.transport import retry_after_s
from tests.plugins import fake_endpoint as wire
from tests.plugins.fake_endpoint import FakeEndpoint, Play
from topology.contract.errors import CheckFailed, RetryLater, SettingsError
from topology.contract.labels import Outcome
from workers.process.clock import SystemClock

SECRET = "the user's own words"
BODY = ChatBody(model="m", messages=(ChatTurn(role="user", content=SECRET),))
QUICK = Endpoint(name="generator", base_url="", backoff_initial_s=0.01, backoff_max_s=0.05, request_timeout_s=5.0)
T = TypeVar("T")


class Session:
    """A client at a fake endpoint, and what its observer saw."""

    def __init__(self, endpoint: FakeEndpoint, client: ChatClient, calls: list[Call]) -> None:
        self.endpoint = endpoint
        self.client = client
        self.calls = calls

    async def ask(
        self, *, deadline_in_s: float = 10.0, request_id: str = "evt.generator.1", **headers: str
    ) -> Completion:
        deadline_s = SystemClock().monotonic_s() + deadline_in_s
        return await self.client.complete(BODY, request_id=request_id, deadline_s=deadline_s, headers=headers)


def play(scenario: Callable[[Session], Awaitable[T]], *plays: Play, bounds: Endpoint = QUICK, api_key: str = "") -> T:
    """Run the scenario against an endpoint that plays `plays` first."""

    async def run() -> T:
        calls: list[Call] = []
        async with FakeEndpoint(plays=list(plays)) as endpoint:
            at = msgspec.structs.replace(bounds, base_url=endpoint.base_url)
            client = ChatClient(at, clock=SystemClock(), api_key=api_key, jitter=lambda: 0.5, observe=calls.append)
            try:
                return await scenario(Session(endpoint, client, calls))
            finally:
                await client.aclose()

    return asyncio.run(run())


async def ask(session: Session) -> Completion:
    return await session.ask()


def refused_later(*plays: Play, bounds: Endpoint = QUICK) -> tuple[RetryLater, Session]:
    async def scenario(session: Session) -> tuple[RetryLater, Session]:
        with pytest.raises(RetryLater) as caught:
            await session.ask()
        return caught.value, session

    return play(scenario, *plays, bounds=bounds)


def test_an_answer_comes_whole_with_its_usage_and_identity() -> None:
    completion = play(ask, wire.answer("Gates", " open", finish_reason="length"))
    assert (completion.text, completion.finish_reason) == ("Gates open", "length")
    assert (completion.input_tokens, completion.output_tokens) == (7, 2)
    assert (completion.model, completion.response_id) == (wire.MODEL, "chatcmpl-1")
    assert completion.first_chunk_s > 0


def test_bytes_may_arrive_in_any_pieces() -> None:
    data = wire.answer_bytes(["one", " two"])
    pieces = [data[start:end] for start, end in pairwise([*range(0, len(data), 7), len(data)])]
    assert play(ask, wire.stream(pieces)).text == "one two"


def test_the_request_carries_key_id_and_trace_and_no_proxy_or_cookie() -> None:
    async def scenario(session: Session) -> dict[str, str]:
        await session.ask(traceparent="00-ab-cd-01")
        assert session.endpoint.received[0].path == "/v1/chat/completions"
        assert session.endpoint.received[0].body["stream_options"] == {"include_usage": True}
        return session.endpoint.received[0].headers

    headers = play(scenario, api_key="key-1")
    assert headers["authorization"] == "Bearer key-1"
    assert headers["x-request-id"] == "evt.generator.1"
    assert headers["traceparent"] == "00-ab-cd-01"
    assert headers["accept-encoding"] == "identity"
    assert "cookie" not in headers


def test_an_id_or_trace_header_from_outside_cannot_add_a_header() -> None:
    async def scenario(session: Session) -> dict[str, str]:
        await session.ask(request_id="a\r\nX-Admin: 1 é", tracestate="x\r\nX-Admin: 1")
        return session.endpoint.received[0].headers

    headers = play(scenario)
    assert "x-admin" not in headers
    assert "tracestate" not in headers
    assert headers["x-request-id"] == "a%0D%0AX-Admin:%201%20%C3%A9"


def test_a_key_with_a_line_break_is_a_settings_error_that_does_not_show_it() -> None:
    with pytest.raises(SettingsError) as caught:
        play(ask, api_key="se\ncret")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("code", [429, 500, 502, 503])
def test_a_busy_or_broken_backend_is_tried_again_under_another_id(code: int) -> None:
    async def scenario(session: Session) -> None:
        assert (await session.ask()).text == "Hello there"
        ids = [received.headers["x-request-id"] for received in session.endpoint.received]
        assert ids == ["evt.generator.1", "evt.generator.1.retry1", "evt.generator.1.retry2"]
        assert [call.outcome for call in session.calls] == [outcome_of_status(code)] * 2 + [Outcome.OK]

    play(scenario, wire.status(code), wire.status(code))


def test_tries_are_bounded() -> None:
    error, session = refused_later(*[wire.status(503)] * 9)
    assert (error.outcome, error.backend, error.detail) == (Outcome.OVERLOADED, "generator", "HTTP 503")
    assert len(session.endpoint.received) == 1 + QUICK.retries_max


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_key_or_model_that_is_refused_waits_for_an_operator_without_hammering(code: int) -> None:
    error, session = refused_later(*[wire.status(code)] * 3)
    assert error.outcome is Outcome.REFUSED
    assert len(session.endpoint.received) == 1


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_request_that_no_retry_can_help_is_refused_for_good_and_leaves_the_breaker_closed(code: int) -> None:
    async def scenario(session: Session) -> None:
        for _ in range(QUICK.breaker_failures + 1):
            with pytest.raises(CheckFailed) as caught:
                await session.ask()
            assert (caught.value.outcome, caught.value.guard) == (Outcome.REFUSED, "generator")
        assert session.client.breaker_state is BreakerState.CLOSED

    play(scenario, *[wire.status(code)] * (QUICK.breaker_failures + 1))


def test_a_refusal_inside_the_stream_is_final_too() -> None:
    with pytest.raises(CheckFailed):
        play(ask, wire.stream([wire.event({"error": {"message": SECRET, "code": 400}})]))


def test_a_stream_that_breaks_after_its_first_byte_is_not_tried_again_here() -> None:
    error, session = refused_later(wire.stream([wire.chunk("half")], is_cut=True))
    assert error.outcome is Outcome.CRASHED
    assert len(session.endpoint.received) == 1


@pytest.mark.parametrize(
    ("misbehaviour", "outcome"),
    [
        (wire.stream([wire.chunk("half")]), Outcome.UNPARSABLE),
        (wire.stream([b"data: {nonsense\n\n"]), Outcome.UNPARSABLE),
        (wire.stream([wire.event({"error": {"message": SECRET, "code": 500}})]), Outcome.CRASHED),
        (wire.status(200, b"<html>" + SECRET.encode()), Outcome.UNPARSABLE),
        (wire.status(302, b"", "Location: http://127.0.0.1:1/"), Outcome.UNPARSABLE),
        (wire.raw(SECRET.encode() + b"\r\n\r\n"), Outcome.UNPARSABLE),
    ],
    ids=["no-end", "garbage", "error-in-stream", "html", "redirect", "not-http"],
)
def test_what_cannot_be_read_is_said_without_its_text(misbehaviour: Play, outcome: Outcome) -> None:
    error, session = refused_later(misbehaviour)
    assert error.outcome is outcome
    assert SECRET not in str(error)
    assert len(session.endpoint.received) == 1


def test_a_connection_closed_without_an_answer_is_tried_again() -> None:
    assert play(ask, wire.raw(b"")).text == "Hello there"


def test_nobody_there_is_unreachable() -> None:
    async def run() -> None:
        client = ChatClient(msgspec.structs.replace(QUICK, base_url="http://127.0.0.1:9/v1"), clock=SystemClock())
        with pytest.raises(RetryLater) as caught:
            await client.complete(BODY, request_id="x", deadline_s=SystemClock().monotonic_s() + 5, headers={})
        assert caught.value.outcome is Outcome.UNREACHABLE
        await client.aclose()

    asyncio.run(run())


def test_a_longer_answer_than_allowed_is_cut_off_for_good() -> None:
    bounds = msgspec.structs.replace(QUICK, response_bytes_max=2000)

    async def scenario(session: Session) -> None:
        with pytest.raises(CheckFailed) as caught:
            await session.ask()
        assert caught.value.outcome is Outcome.UNPARSABLE
        await session.endpoint.wait_closed_by_client()

    play(scenario, wire.stream([wire.chunk("x" * 100)] * 1000), bounds=bounds)


@pytest.mark.parametrize("misbehaviour", [wire.hang, wire.silence])
def test_the_deadline_ends_a_hanging_call_and_closes_its_connection(misbehaviour: Play) -> None:
    async def scenario(session: Session) -> None:
        with pytest.raises(RetryLater) as caught:
            await session.ask(deadline_in_s=0.2)
        assert caught.value.outcome is Outcome.TIMEOUT
        await session.endpoint.wait_closed_by_client()
        assert session.client.breaker_state is BreakerState.CLOSED

    play(scenario, misbehaviour)


def test_a_deadline_in_the_past_sends_nothing() -> None:
    async def scenario(session: Session) -> None:
        with pytest.raises(RetryLater):
            await session.ask(deadline_in_s=-1.0)
        assert not session.endpoint.received

    play(scenario)


def test_cancelling_closes_the_request() -> None:
    async def scenario(session: Session) -> None:
        task = asyncio.ensure_future(session.ask())
        async with asyncio.timeout(5.0):
            while not session.endpoint.busy_count:  # noqa: ASYNC110 (polling with a bound)
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await session.endpoint.wait_closed_by_client()

    play(scenario, wire.hang)


@pytest.mark.parametrize("asked", ["0.02", "0", "1"])
def test_retry_after_is_honoured_up_to_the_longest_wait_and_given_up_beyond(asked: str) -> None:
    async def scenario(session: Session) -> None:
        if asked == "1":
            with pytest.raises(RetryLater):
                await session.ask()
            assert len(session.endpoint.received) == 1
        else:
            assert (await session.ask()).text == "Hello there"

    play(scenario, wire.status(429, b"", f"Retry-After: {asked}"))


def test_retry_after_may_be_a_date() -> None:
    late = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    error, session = refused_later(wire.status(503, b"", f"Retry-After: {late}"))
    assert error.outcome is Outcome.OVERLOADED
    assert len(session.endpoint.received) == 1


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"Retry-After": "20"}, 20.0),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250.5", "Retry-After": "20"}, 0.2505),
        ({"retry-after-ms": "soon", "Retry-After": "20"}, 20.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "soon"}, 0.0),
        ({"Retry-After": "9" * 400}, 0.0),
        ({}, 0.0),
    ],
)
def test_rest_may_be_asked_for_in_every_form_in_use(headers: dict[str, str], after_s: float) -> None:
    assert retry_after_s(headers, now_ms=60_000) == pytest.approx(after_s)


def test_an_endpoint_that_asks_for_rest_gets_it_from_everybody_and_then_one_probe() -> None:
    async def scenario(session: Session) -> None:
        with pytest.raises(RetryLater) as caught:
            await session.ask()
        assert caught.value.after_s == pytest.approx(0.3)
        others = await asyncio.gather(*(session.ask() for _ in range(8)), return_exceptions=True)
        assert all(isinstance(other, RetryLater) and 0 < other.after_s <= 0.3 for other in others)
        assert len(session.endpoint.received) == 1
        await asyncio.sleep(0.35)
        session.endpoint.then = wire.answer("Back", pause_s=0.1)
        await asyncio.gather(*(session.ask() for _ in range(8)), return_exceptions=True)
        assert session.endpoint.busy_max == 1

    bounds = msgspec.structs.replace(QUICK, retries_max=0)
    play(scenario, wire.status(429, b"", "retry-after-ms: 300"), bounds=bounds)


def test_an_endpoint_cannot_ask_for_more_rest_than_the_bound() -> None:
    bounds = msgspec.structs.replace(QUICK, rest_max_s=0.2)
    error, _ = refused_later(wire.status(503, b"", "Retry-After: 86400"), bounds=bounds)
    assert error.after_s == 0.2


def test_a_wait_for_a_free_request_does_not_use_up_the_time_of_the_request() -> None:
    bounds = msgspec.structs.replace(QUICK, concurrency_max=1, request_timeout_s=0.4)

    async def scenario(session: Session) -> None:
        session.endpoint.then = wire.stream([wire.chunk("a"), wire.answer_bytes(["b"])], pause_s=0.08)
        answers = await asyncio.gather(*(session.ask() for _ in range(5)))
        assert [answer.text for answer in answers] == ["ab"] * 5

    play(scenario, bounds=bounds)


def test_at_most_so_many_calls_are_under_way() -> None:
    async def scenario(session: Session) -> None:
        session.endpoint.then = wire.stream([wire.chunk("a"), wire.answer_bytes(["b"])], pause_s=0.02)
        await asyncio.gather(*(session.ask() for _ in range(20)))
        assert session.endpoint.busy_max == 4

    play(scenario, bounds=msgspec.structs.replace(QUICK, concurrency_max=4))


def test_a_backend_that_keeps_failing_is_left_alone_and_found_again() -> None:
    bounds = msgspec.structs.replace(QUICK, breaker_failures=3, breaker_open_s=0.2, retries_max=0)

    async def scenario(session: Session) -> None:
        for _ in range(3):
            with pytest.raises(RetryLater, match="HTTP 500"):
                await session.ask()
        with pytest.raises(RetryLater, match="circuit open"):
            await session.ask()
        assert len(session.endpoint.received) == 3
        await asyncio.sleep(0.25)
        assert (await session.ask()).text == "Hello there"
        assert session.client.breaker_state is BreakerState.CLOSED

    play(scenario, *[wire.status(500)] * 3, bounds=bounds)


def test_a_backend_that_uses_up_the_whole_time_of_a_request_speaks_against_itself() -> None:
    bounds = msgspec.structs.replace(QUICK, breaker_failures=1, request_timeout_s=0.15)

    async def scenario(session: Session) -> None:
        with pytest.raises(RetryLater):
            await session.ask()
        assert session.client.breaker_state is BreakerState.OPEN

    play(scenario, wire.hang, bounds=bounds)


def _library_errors() -> list[type[BaseException]]:
    found: list[type[BaseException]] = []
    waiting: list[type[BaseException]] = [
        client_exceptions.ClientError,
        *http_exceptions.HttpProcessingError.__subclasses__(),
    ]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return [
        kind for kind in found if kind.__module__.startswith("aiohttp.") and kind is not client_exceptions.ClientError
    ]


@pytest.mark.parametrize("kind", [*_library_errors(), TimeoutError, ConnectionResetError, ssl.SSLCertVerificationError])
def test_every_error_of_the_library_has_a_row_and_is_caught(kind: type[BaseException]) -> None:
    assert any(issubclass(kind, row) for row, _ in ERRORS)
    assert issubclass(kind, CAUGHT)


def test_an_error_without_a_row_is_a_bug() -> None:
    with pytest.raises(KeyError):
        outcome_of_error(ValueError())


def test_every_status_has_an_outcome_and_only_client_errors_are_final() -> None:
    for code in range(201, 600):
        assert outcome_of_status(code) is not Outcome.OK
        assert not is_the_requests_fault(code) or (400 <= code < 500 and outcome_of_status(code) is Outcome.REFUSED)
