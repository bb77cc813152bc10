"""The Generator port over any OpenAI-compatible endpoint."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import UNSET, Meta, Struct

from serving.endpoint.client import ChatClient
from serving.endpoint.completion import ChatBody, ChatTurn, Completion
from serving.endpoint.transport import Stopped
from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.errors import CheckFailed
from topology.contract.events import GenerationParameters, Message, Usage, parts_text
from topology.contract.labels import Outcome
from topology.contract.names import DraftSource, LlmRole
from topology.ports import OnText


class GenerationDefaults(Struct, frozen=True, kw_only=True):
    """The model that answers, and its parameters if the event has none. `max_tokens` also caps what an event asks for.

    An event's seed is forwarded only with `forward_seed`: vLLM 0.32's CPU build ends its engine on a seeded request
    ("CPU Generator does not use offset"), so any sender could stop it. `continue_final_message`: the server can go on
    with the last message (vLLM; other servers refuse the field).
    """

    model: str
    max_tokens: Annotated[int, Meta(ge=1)] = 512
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    forward_seed: bool = False
    continue_final_message: bool = False


class OpenAiGenerator:
    """The generator that answers through `client`, which it closes."""

    def __init__(self, client: ChatClient, defaults: GenerationDefaults) -> None:
        self._client = client
        self._defaults = defaults

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        """Return the model's answer; its text is empty if the model ended without one. Cancelling closes the request.

        `on_text` is awaited with each piece of its text; what it raises is raised, and closes the request.

        Raises RetryLater while the endpoint cannot answer, and CheckFailed if it would never answer this request:
        refused (too long for the model, a parameter out of range, the endpoint's own filter) or unparsable (longer than
        the bound).
        """
        body = generation_body(request.messages, request.parameters, self._defaults, continues=request.continues)
        try:
            completion = await self._client.complete(
                body,
                request_id=request.request_id,
                deadline_s=request.deadline_s,
                headers=request.headers,
                on_text=on_text,
            )
        except Stopped as stopped:
            raise stopped.error from stopped
        _require_unfiltered(completion)
        return Draft(
            text=completion.text,
            source=DraftSource.GENERATOR,
            model=completion.model or self._defaults.model,
            response_id=completion.response_id,
            finish_reason=completion.finish_reason,
            usage=Usage(input_tokens=completion.input_tokens, output_tokens=completion.output_tokens),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _require_unfiltered(completion: Completion) -> None:
    """Raise if the endpoint's own filter cut the answer: what came before it is not judged as an answer."""
    if completion.finish_reason == "content_filter" and completion.text.strip():
        raise CheckFailed(Outcome.REFUSED, LlmRole.GENERATOR.value, "the endpoint's own filter ended the answer")


def generation_body(
    messages: Sequence[Message],
    asked: GenerationParameters,
    defaults: GenerationDefaults,
    *,
    continues: bool = False,
) -> ChatBody:
    """Build the request's body: what the event asks for, within the bounds. Only fields that are set are sent.

    `continues` is the request's. A server that can go on with a message is not sent the last one, which asks for that.
    """
    is_continued = continues and defaults.continue_final_message
    if is_continued:
        messages = messages[:-1]
    return ChatBody(
        model=defaults.model,
        messages=tuple(ChatTurn(role=message.role.value, content=parts_text(message.parts)) for message in messages),
        max_tokens=min(asked.max_tokens or defaults.max_tokens, defaults.max_tokens),
        temperature=defaults.temperature if asked.temperature is None else asked.temperature,
        top_p=UNSET if asked.top_p is None else asked.top_p,
        seed=asked.seed if defaults.forward_seed and asked.seed is not None else UNSET,
        stop=asked.stop or UNSET,
        ignore_eos=asked.ignore_eos or UNSET,
        continue_final_message=is_continued or UNSET,
        add_generation_prompt=False if is_continued else UNSET,
    )
