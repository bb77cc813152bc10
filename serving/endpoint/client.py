"""One asynchronous client for any OpenAI-compatible endpoint: streamed chat completions, bounded in every way."""

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from serving.endpoint.breaker import Breaker, BreakerState, Ticket
from serving.endpoint.completion import ChatBody, Completion, encode_body
from serving.endpoint.transport import Failure, Stopped, Transport, request_headers
from topology.contract.errors import CheckFailed, RetryLater
from topology.contract.labels import Outcome
from topology.load.gate import Gate, OnChange, unwatched
from topology.load.limiter import Limiter, LimiterBounds
from topology.ports import Clock, OnText

_REFUSED = frozenset({Outcome.OVERLOADED, Outcome.TIMEOUT})
"""The outcomes after which fewer requests are sent at once."""

SLOW_SHARE = 0.5
"""The share of a request's time limit beyond which it counts as slow, so that fewer are sent at once."""


class Endpoint(Struct, frozen=True, kw_only=True):
    """The address of a served model and the bounds of every call to it. `name` is used in errors and metrics.

    `base_url` ends before `/chat/completions`. `retries_max` counts further tries inside one call. `rest_max_s` bounds
    the rest that a backend may ask for. At most `concurrency_max` requests run at once, fewer while they are slow or
    refused; others wait, outside their time limit.
    """

    name: str
    base_url: str
    request_timeout_s: Annotated[float, Meta(gt=0)] = 60.0
    connect_timeout_s: Annotated[float, Meta(gt=0)] = 5.0
    concurrency_max: Annotated[int, Meta(ge=1)] = 64
    retries_max: Annotated[int, Meta(ge=0)] = 3
    backoff_initial_s: Annotated[float, Meta(gt=0)] = 0.2
    backoff_max_s: Annotated[float, Meta(gt=0)] = 5.0
    breaker_failures: Annotated[int, Meta(ge=1)] = 5
    breaker_open_s: Annotated[float, Meta(gt=0)] = 5.0
    rest_max_s: Annotated[float, Meta(gt=0)] = 60.0
    response_bytes_max: Annotated[int, Meta(ge=1)] = 4 * 1024 * 1024


class Call(Struct, frozen=True, kw_only=True):
    """One try as the observer sees it. `try_index` counts from 0; `first_chunk_s` is 0 if no answer came.

    `reason` says why it failed, without any text; empty if it did not, or was not made.
    """

    backend: str
    outcome: Outcome
    try_index: int
    duration_s: float
    first_chunk_s: float
    reason: str = ""


def ignore_call(_call: Call) -> None:
    """Ignore a call; the observer that does nothing."""


class _NotAdmitted(Failure):
    """A request that this client's own breaker kept back: it says nothing about how many the backend can serve."""


class _Told:
    """A receiver of text that remembers whether any came."""

    def __init__(self, on_text: OnText) -> None:
        self._on_text = on_text
        self.has_begun = False

    async def __call__(self, text: str) -> None:
        self.has_begun = True
        await self._on_text(text)


class ChatClient:
    """The client of one endpoint. It belongs to one event loop, in which it connects lazily; `aclose` ends it.

    `jitter` returns numbers in [0, 1). `tls` is None for the system's own certificates. `observe` is called with every
    try.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Clock,
        api_key: str = "",
        tls: ssl.SSLContext | None = None,
        jitter: Callable[[], float] = random.random,
        observe: Callable[[Call], None] = ignore_call,
        on_change: OnChange = unwatched,
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._jitter = jitter
        self._observe = observe
        slow_s = endpoint.request_timeout_s * SLOW_SHARE
        limiter = Limiter(LimiterBounds(most=endpoint.concurrency_max, slow_s=slow_s))
        self._gate = Gate(endpoint.name, limiter, clock.monotonic_s, on_change)
        self._breaker = Breaker(
            failures_max=endpoint.breaker_failures,
            open_s=endpoint.breaker_open_s,
            rest_max_s=endpoint.rest_max_s,
            calls_max=endpoint.concurrency_max,
            now_s=clock.monotonic_s,
        )
        self._transport = Transport(
            endpoint.base_url.rstrip("/") + "/chat/completions",
            clock=clock,
            api_key=api_key,
            tls=tls,
            connect_timeout_s=endpoint.connect_timeout_s,
            connections_max=endpoint.concurrency_max,
            response_bytes_max=endpoint.response_bytes_max,
        )

    @property
    def breaker_state(self) -> BreakerState:
        """Return whether a call made now would be let through."""
        return self._breaker.state

    @property
    def rest_left_s(self) -> float:
        """Return how much longer the backend is left alone because it asked for it; 0 if it did not ask."""
        return self._breaker.rest_left_s

    async def aclose(self) -> None:
        """Close every connection; running calls end as unreachable."""
        await self._transport.aclose()

    async def complete(
        self,
        body: ChatBody,
        *,
        request_id: str,
        deadline_s: float,
        headers: Mapping[str, str],
        on_text: OnText | None = None,
    ) -> Completion:
        """Return the whole answer. `deadline_s` is on the clock's monotonic scale; cancelling closes the request.

        `on_text` is awaited with each piece of its text. What it raises comes in Stopped, and closes the request.

        Raises TooLate if its turn would come too late for the deadline, RetryLater if the backend cannot answer now,
        and CheckFailed if it would never answer this request. None carries text of the request or of the answer.
        """
        payload = encode_body(body)
        try_index = 0
        while True:  # bounded: `_delay_s` raises after `retries_max` and at the deadline
            sent = request_headers(request_id, try_index, headers)
            try:
                return await self._observed_try(payload, sent, try_index, deadline_s, on_text)
            except Failure as failure:
                delay_s = self._delay_s(failure, try_index, deadline_s)
            await self._clock.sleep(delay_s)
            try_index += 1

    def _delay_s(self, failure: Failure, try_index: int, deadline_s: float) -> float:
        """Return how long to wait before the next try; raise if there is none.

        Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        endpoint = self._endpoint
        if failure.is_final:
            raise CheckFailed(failure.outcome, endpoint.name, failure.detail) from failure
        ceiling_s = min(endpoint.backoff_max_s, endpoint.backoff_initial_s * 2.0**try_index)
        delay_s = max(self._jitter() * ceiling_s, failure.after_s)
        is_in_bounds = delay_s <= endpoint.backoff_max_s and self._clock.monotonic_s() + delay_s < deadline_s
        if not failure.may_retry or try_index >= endpoint.retries_max or not is_in_bounds:
            after_s = min(failure.after_s, endpoint.rest_max_s)
            raise RetryLater(failure.outcome, endpoint.name, failure.detail, after_s) from failure
        return delay_s

    async def _observed_try(
        self, payload: bytes, headers: dict[str, str], try_index: int, deadline_s: float, on_text: OnText | None
    ) -> Completion:
        if deadline_s <= self._clock.monotonic_s():
            raise Failure(Outcome.TIMEOUT, "the deadline has passed")
        async with self._gate.turn(deadline_s) as turn:
            started_s = self._clock.monotonic_s()
            outcome, first_chunk_s, reason = Outcome.CRASHED, 0.0, ""
            told = None if on_text is None else _Told(on_text)
            try:
                completion = await self._bounded_try(payload, headers, deadline_s - started_s, told)
                outcome, first_chunk_s = Outcome.OK, completion.first_chunk_s
            except Failure as failure:
                outcome = failure.outcome
                if not isinstance(failure, _NotAdmitted):
                    turn.is_refused = outcome in _REFUSED
                    reason = failure.detail or outcome.value
                raise
            except (Stopped, asyncio.CancelledError):
                if told is not None and told.has_begun:  # the model was answering: who had asked it wants no more
                    outcome = Outcome.OK
                raise
            else:
                return completion
            finally:
                self._observe(
                    Call(
                        backend=self._endpoint.name,
                        outcome=outcome,
                        try_index=try_index,
                        duration_s=self._clock.monotonic_s() - started_s,
                        first_chunk_s=first_chunk_s,
                        reason=reason,
                    )
                )

    async def _bounded_try(
        self, payload: bytes, headers: dict[str, str], left_s: float, on_text: OnText | None
    ) -> Completion:
        timeout_s = min(left_s, self._endpoint.request_timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._admitted_try(payload, headers, on_text)
        except TimeoutError as exc:
            raise Failure(Outcome.TIMEOUT, f"no whole answer within {timeout_s:.1f} s") from exc

    async def _admitted_try(self, payload: bytes, headers: dict[str, str], on_text: OnText | None) -> Completion:
        ticket = self._breaker.admit()
        if ticket is None:
            raise self._not_admitted()
        started_s = self._clock.monotonic_s()
        try:
            completion = await self._transport.post(payload, headers, on_text)
        except Failure as failure:
            self._report(ticket, failure)
            raise
        except BaseException:  # cancelled from outside, or by the time limit: the ticket must be returned
            self._report_cut_short(ticket, self._clock.monotonic_s() - started_s)
            raise
        self._breaker.report_success(ticket)
        return completion

    def _not_admitted(self) -> _NotAdmitted:
        left_s, state = self._breaker.rest_left_s, self._breaker.state
        if left_s:
            return _NotAdmitted(Outcome.OVERLOADED, "it asked to be left alone", may_retry=True, after_s=left_s)
        if state is BreakerState.CLOSED:
            return _NotAdmitted(Outcome.OVERLOADED, "it is coming back, with few requests at once", may_retry=True)
        return _NotAdmitted(Outcome.UNREACHABLE, f"circuit {state.value}")

    def _report(self, ticket: Ticket, failure: Failure) -> None:
        """Report a failed call. An overloaded backend is alive: rest and backoff deal with it."""
        if failure.is_final:
            self._breaker.report_success(ticket)
        elif failure.after_s > 0 or failure.outcome is Outcome.OVERLOADED:
            self._breaker.report_busy(ticket, failure.after_s)
        else:
            self._breaker.report_failure(ticket)

    def _report_cut_short(self, ticket: Ticket, duration_s: float) -> None:
        """Report a call that was cut short; it counts against the backend only if it had nearly all its time."""
        if duration_s >= 0.9 * self._endpoint.request_timeout_s:
            self._breaker.report_failure(ticket)
        else:
            self._breaker.report_nothing(ticket)
