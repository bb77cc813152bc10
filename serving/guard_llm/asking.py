"""One question to a guard LLM: guided JSON, temperature zero, a bounded answer, and strict decoding of it."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from serving.endpoint.client import ChatClient
from serving.endpoint.completion import ChatBody, ChatTurn, Completion
from serving.guard_llm.answers import Answer, strangers
from serving.guard_llm.prompts import Question
from topology.contract.errors import CheckFailed, RetryLater
from topology.contract.labels import Outcome
from topology.contract.names import StageName
from topology.load.gate import DEADLINE_S
from topology.ports import Clock

TraceHeaders = Callable[[], Mapping[str, str]]
"""A function that returns the trace context of the running call as HTTP headers."""

GUARD = StageName.GUARD_LLM.value

WAIT_MAX_S = 3600.0
"""The longest wait for an answer, turn and tries included, of a question that belongs to no event with a deadline."""

Prompts = Literal["combined", "groups"]
"""The questions asked: one over all categories, or that one and a question for each group that matters."""


class GuardBounds(Struct, frozen=True, kw_only=True):
    """The model that judges and the bounds of one call; `tokens_max` bounds its answer.

    With `groups`, a text costs at most `groups_max` more calls, and a draft one more for its manner.
    """

    model: str
    tokens_max: Annotated[int, Meta(ge=1)] = 1024
    seed: int = 0
    prompts: Prompts = "combined"
    groups_max: Annotated[int, Meta(ge=1)] = 3


def no_trace() -> Mapping[str, str]:
    """Return the trace headers of a call that nobody traces: none."""
    return {}


class Judge:
    """The client of one guard model, within one set of bounds."""

    def __init__(self, client: ChatClient, bounds: GuardBounds, clock: Clock, trace: TraceHeaders) -> None:
        self._client = client
        self._bounds = bounds
        self._clock = clock
        self._trace = trace

    async def ask(self, question: Question[Answer], data: str, request_id: str) -> Answer:
        """Return the decoded answer. Raises CheckFailed for any other reply, and for none."""
        bounds = self._bounds
        body = ChatBody(
            model=bounds.model,
            messages=(ChatTurn(role="system", content=question.prompt), ChatTurn(role="user", content=data)),
            max_tokens=bounds.tokens_max,
            temperature=0.0,
            seed=bounds.seed,
            response_format=_format(question),
        )
        try:
            completion = await self._client.complete(
                body,
                request_id=request_id,
                deadline_s=min(DEADLINE_S.get(), self._clock.monotonic_s() + WAIT_MAX_S),
                headers=self._trace(),
            )
        except (RetryLater, CheckFailed) as exc:
            raise CheckFailed(exc.outcome, GUARD, exc.detail) from exc
        return _read(question, completion)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _format(question: Question[Answer]) -> dict[str, object]:
    named = {"name": question.kind.__name__, "strict": True, "schema": question.schema}
    return {"type": "json_schema", "json_schema": named}


def _read(question: Question[Answer], completion: Completion) -> Answer:
    if completion.finish_reason != "stop":
        raise CheckFailed(Outcome.UNPARSABLE, GUARD, "the answer was cut off")
    try:
        answer = msgspec.json.decode(completion.text, type=question.kind)
    except (msgspec.DecodeError, UnicodeError) as exc:  # its message may quote the answer, so it is left out
        raise CheckFailed(Outcome.UNPARSABLE, GUARD, "the answer does not fit the schema") from exc
    if strangers(answer, question.names):
        raise CheckFailed(Outcome.UNPARSABLE, GUARD, "the answer uses a name that the policy does not know")
    return answer
