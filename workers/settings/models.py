"""Settings of the language models that answer and judge."""

from typing import Annotated

from msgspec import Meta, Struct

from workers.settings.secret import Secret
from workers.settings.types import MIB, Bytes, JudgePrompts, LabelerKind, Name, Seconds, Text, Url, about


class GenerationSettings(Struct, frozen=True, kw_only=True):
    """The OpenAI-compatible endpoint that answers."""

    base_url: Annotated[Url, about("The endpoint, with `/v1`.")] = "http://127.0.0.1:8000/v1"
    model: Annotated[Name, about("Model name as the endpoint serves it.")] = "sluicegate-tiny"
    api_key: Annotated[Secret, about("Bearer token; empty: none is sent.")] = Secret()
    max_tokens: Annotated[int, Meta(ge=1, le=131_072, description="Longest answer, and a cap on an event's own.")] = 512
    temperature: Annotated[float, Meta(ge=0, le=2, description="Used where the event names none.")] = 0.7
    request_timeout_s: Annotated[Seconds, about("One request, streaming included.")] = 60
    connect_timeout_s: Annotated[Seconds, about("Opening a connection.")] = 5
    concurrency_max: Annotated[int, Meta(ge=1, le=10_000, description="Requests of one worker at once.")] = 64
    retries_max: Annotated[int, Meta(ge=0, le=20, description="Further tries inside one client call.")] = 3
    attempts_max: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Such calls for one draft; as a rule the event's deadline comes first."),
    ] = 200
    backoff_initial_s: Annotated[Seconds, about("Wait before the first further try.")] = 0.2
    backoff_max_s: Annotated[Seconds, about("Longest wait between tries.")] = 5
    breaker_failures: Annotated[int, Meta(ge=1, le=1000, description="Failures in a row that open the breaker.")] = 5
    breaker_open_s: Annotated[Seconds, about("How long an open breaker refuses before it lets one through.")] = 5
    response_bytes_max: Annotated[Bytes, about("A longer response is cut off and counts as unparsable.")] = 4 * MIB
    forward_seed: Annotated[
        bool, about("Send an event's seed on. Off: a seed ends the CPU build of vLLM 0.32, whoever sent it.")
    ] = False


class GuardSettings(Struct, frozen=True, kw_only=True):
    """Who labels requests, and the guard LLM."""

    labeler: Annotated[LabelerKind, about("The packaged model, or the guard LLM.")] = "embedded"
    judge_base_url: Annotated[Url, about("Endpoint of the guard LLM; needed by `labeler = llm`.")] = ""
    judge_model: Annotated[Text, about("Its model name.")] = ""
    judge_api_key: Annotated[Secret, about("Its bearer token; empty: none is sent.")] = Secret()
    judge_timeout_s: Annotated[Seconds, about("One call.")] = 20
    judge_concurrency_max: Annotated[int, Meta(ge=1, le=10_000, description="Calls of one worker at once.")] = 16
    judge_prompts: Annotated[
        JudgePrompts, about("One question over all categories, or a further one for each group that matters.")
    ] = "combined"
    judge_groups_max: Annotated[
        int, Meta(ge=1, le=16, description="Groups asked about for one text, the gravest first; with `groups`.")
    ] = 3
