"""The settings of the language models that answer and judge."""

from typing import Annotated

from msgspec import Meta, Struct

from workers.settings.secret import Secret
from workers.settings.types import MIB, Bytes, JudgePrompts, LabelerKind, ListedMarks, Name, Seconds, Text, Url, about


class GenerationSettings(Struct, frozen=True, kw_only=True):
    """The OpenAI-compatible endpoint that generates answers."""

    base_url: Annotated[Url, about("URL of the endpoint, with `/v1`.")] = "http://127.0.0.1:8000/v1"
    model: Annotated[Name, about("Name under which the endpoint serves the model.")] = "sluicegate-tiny"
    api_key: Annotated[Secret, about("Bearer token; empty: none is sent.")] = Secret()
    max_tokens: Annotated[int, Meta(ge=1, le=131_072, description="Longest answer; an event may ask for less.")] = 512
    temperature: Annotated[float, Meta(ge=0, le=2, description="Temperature, unless the event names one.")] = 0.7
    request_timeout_s: Annotated[Seconds, about("Timeout of one request, streaming included.")] = 60
    connect_timeout_s: Annotated[Seconds, about("Timeout of opening a connection.")] = 5
    concurrency_max: Annotated[int, Meta(ge=1, le=10_000, description="Concurrent requests of one worker.")] = 64
    retries_max: Annotated[int, Meta(ge=0, le=20, description="Retries within one client call.")] = 3
    attempts_max: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Client calls for one draft; usually the event's deadline comes first."),
    ] = 200
    backoff_initial_s: Annotated[Seconds, about("Wait before the first retry.")] = 0.2
    backoff_max_s: Annotated[Seconds, about("Longest wait between retries.")] = 5
    breaker_failures: Annotated[
        int, Meta(ge=1, le=1000, description="Consecutive failures that open the circuit breaker.")
    ] = 5
    breaker_open_s: Annotated[
        Seconds, about("Time that an open circuit breaker refuses requests before it tries one.")
    ] = 5
    rest_max_s: Annotated[
        Seconds, about("Longest time that the endpoint is left alone because it asked for it (`Retry-After`).")
    ] = 60
    response_bytes_max: Annotated[Bytes, about("A longer response is cut off and counts as unparsable.")] = 4 * MIB
    tokenizer: Annotated[
        Text,
        about(
            "Tokenizer of the model, for the marks of turns that are broken up in texts: a directory, or a name in the "
            "local Hugging Face cache; empty: the endpoint is asked, then the model's name."
        ),
    ] = ""
    turn_marks: Annotated[
        ListedMarks,
        about(
            "Marks of turns that are broken up beside those that no ordinary text has; `none` alone: the model has no "
            "other. If any are given, neither the endpoint nor the model's name is asked."
        ),
    ] = ()
    forward_seed: Annotated[
        bool, about("Send an event's seed to the endpoint. Off by default: any seed ends the CPU build of vLLM 0.32.")
    ] = False
    continue_final_message: Annotated[
        bool,
        about(
            "The endpoint goes on with an answer that is the last message (vLLM). Off: a streamed answer that goes on "
            "is asked for in a new turn."
        ),
    ] = False


class GuardSettings(Struct, frozen=True, kw_only=True):
    """The labeller of requests, and the guard LLM."""

    labeler: Annotated[LabelerKind, about("Labeller of requests: the packaged model, or the guard LLM.")] = "embedded"
    encoder_path: Annotated[
        Text,
        about(
            "Encoder that labels requests and drafts: the `packaged` one, or the folder of another. Empty: n-gram "
            "heads and phrases only, which miss most of what is said in other words."
        ),
    ] = "packaged"
    encoder_threads: Annotated[
        int, Meta(ge=1, le=64, description="Threads of the encoder in one process; each takes a core while it reads.")
    ] = 1
    windows_max: Annotated[
        int,
        Meta(ge=2, le=2048, description="Windows of 256 tokens that the encoder reads of one text at most."),
    ] = 64
    windows_share: Annotated[
        float,
        Meta(
            ge=0.05,
            le=0.9,
            description="Share of the stage's time, or of what is left of the event's deadline, that one text is read.",
        ),
    ] = 0.5
    long_waiting_max: Annotated[
        int, Meta(ge=1, le=1000, description="Long texts of one stage that are read or wait; another one is refused.")
    ] = 8
    judge_base_url: Annotated[Url, about("Endpoint of the guard LLM; required by `labeler = llm`.")] = ""
    judge_model: Annotated[Text, about("Model name of the guard LLM.")] = ""
    judge_api_key: Annotated[Secret, about("Bearer token for the guard LLM; empty: none is sent.")] = Secret()
    judge_timeout_s: Annotated[Seconds, about("Timeout of one call.")] = 20
    judge_concurrency_max: Annotated[int, Meta(ge=1, le=10_000, description="Concurrent calls of one worker.")] = 16
    judge_prompts: Annotated[
        JudgePrompts, about("One question about all categories, or another one for each relevant group.")
    ] = "combined"
    judge_groups_max: Annotated[
        int, Meta(ge=1, le=16, description="With `groups`: groups asked about for one text, the gravest first.")
    ] = 3
