"""The language models that settings ask for: who answers, under which span, and what is counted of every call."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import pytest
from msgspec import structs
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving.fakes import FakeCheck
from serving.guards.encoded import NAME as ENCODER
from tests.contracts.samples import POLICY, check_input, event, generation_request
from tests.plugins import fake_endpoint as wire
from tests.plugins.fake_endpoint import FakeEndpoint, Play
from tests.plugins.running_worker import logged
from topology.contract.errors import CheckFailed, RetryLater
from topology.contract.events import Action, AuditedResponse, GenerationParameters
from topology.contract.labels import Outcome
from topology.contract.names import StageName, Topic
from topology.contract.records import Record
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.assembly import build_pipeline
from workers.process.clock import SystemClock
from workers.settings import GenerationSettings, GuardSettings, Secret, Settings, TelemetrySettings
from workers.stages.language_models import ModelSet
from workers.telemetry.setup import start_telemetry

T = TypeVar("T")
Use = Callable[[ModelSet], Awaitable[T]]

LABELS = {
    "findings": [],
    "vulnerability": "none",
    "risk_subject": "self",
    "urgent": False,
    "touches_risk": False,
    "signals": [],
    "language": "en",
}
JUDGEMENT = {
    "findings": [],
    "bare_refusal": False,
    "declines": "none",
    "obeyed_injection": False,
    "privileged_leak": False,
    "unfair": False,
}
BROKEN = wire.status(400)


def says(value: object) -> Play:
    return wire.answer(json.dumps(value))


def settings_of(generator: str, guard: str = "", *, labeler: Any = "embedded", **generation: Any) -> Settings:
    asked: dict[str, Any] = {"model": "gen-model", "retries_max": 0, "breaker_failures": 2, **generation}
    return structs.replace(
        Settings(),
        generation=GenerationSettings(base_url=generator, **asked),
        guard=GuardSettings(labeler=labeler, judge_base_url=guard, judge_model="judge-model" if guard else ""),
        telemetry=TelemetrySettings(preset="full"),
    )


async def using(settings: Settings, use: Use[T], metrics: Instruments | None = None) -> T:
    models = ModelSet(settings, SystemClock(), metrics or Instruments.none())
    try:
        return await use(models)
    finally:
        await models.aclose()


def deadline_s() -> float:
    return SystemClock().monotonic_s() + 10


def test_without_a_guard_llm_the_packaged_labeller_labels_and_nothing_more_checks() -> None:
    async def use(models: ModelSet) -> None:
        assert models.checks == ()
        assert (await models.labeler.label(event(), POLICY)).labeler.model == ENCODER

    asyncio.run(using(settings_of("http://127.0.0.1:1/v1"), use))


@pytest.mark.parametrize("labeler", ["embedded", "llm"])
def test_a_guard_llm_checks_drafts_and_labels_where_settings_say_so(labeler: str) -> None:
    async def session() -> None:
        async with FakeEndpoint([says(JUDGEMENT)], then=says(LABELS)) as guard:
            settings = settings_of("http://127.0.0.1:1/v1", guard.base_url, labeler=labeler)

            async def use(models: ModelSet) -> None:
                (check,) = models.checks
                report = await check.check(check_input())
                assert report.check == StageName.GUARD_LLM.value
                assert report.version.startswith(f"{check.version}/")
                labels = await models.labeler.label(event(), POLICY)
                assert (labels.labeler.model == "judge-model") == (labeler == "llm")

            await using(settings, use)
            assert len(guard.received) == (2 if labeler == "llm" else 1)
            await guard.wait_closed_by_client()

    asyncio.run(session())


def test_a_guard_llm_is_asked_group_by_group_where_settings_say_so() -> None:
    async def session() -> set[str]:
        async with FakeEndpoint() as guard:

            async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                is_manner = "faults of manner" in json.dumps(guard.received[-1].body["messages"])
                await says({"rationale": "", "faults": []} if is_manner else JUDGEMENT)(reader, writer)

            async def use(models: ModelSet) -> str:
                return (await models.checks[0].check(check_input())).version

            guard.then = play
            settings = settings_of("http://127.0.0.1:1/v1", guard.base_url)
            grouped = structs.replace(settings, guard=structs.replace(settings.guard, judge_prompts="groups"))
            versions = {await using(settings, use), await using(grouped, use)}
            assert len(guard.received) == 1 + 2
            return versions

    assert len(asyncio.run(session())) == 2


def test_the_generator_is_asked_as_settings_say() -> None:
    async def session() -> dict[str, Any]:
        async with FakeEndpoint() as endpoint:
            settings = settings_of(endpoint.base_url, api_key=Secret("k-1"), max_tokens=9, temperature=0.25)

            async def use(models: ModelSet) -> None:
                request = generation_request(deadline_s(), parameters=GenerationParameters(max_tokens=500))
                assert (await models.generator.generate(request)).text == "Hello there"

            await using(settings, use)
            (received,) = endpoint.received
            assert received.headers["authorization"] == "Bearer k-1"
            return received.body

    body = asyncio.run(session())
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("gen-model", 9, 0.25)


@pytest.mark.parametrize("forward_seed", [False, True])
def test_a_seed_is_sent_on_only_where_settings_say_so(*, forward_seed: bool) -> None:
    async def session() -> dict[str, Any]:
        async with FakeEndpoint() as endpoint:

            async def use(models: ModelSet) -> None:
                await models.generator.generate(
                    generation_request(deadline_s(), parameters=GenerationParameters(seed=7))
                )

            await using(settings_of(endpoint.base_url, forward_seed=forward_seed), use)
            return endpoint.received[0].body

    assert asyncio.run(session()).get("seed") == (7 if forward_seed else None)


def points(reader: InMemoryMetricReader, name: Metric) -> list[Any]:
    """What is exported of one metric."""
    data = reader.get_metrics_data()
    return [
        point
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


def calls(reader: InMemoryMetricReader) -> dict[tuple[str, ...], int]:
    """How many requests were timed, by model, role and outcome."""
    found = points(reader, Metric.LLM_REQUEST_DURATION)
    names = ("model", "role", "outcome")
    return {tuple(point.attributes[name] for name in names): point.count for point in found}


def test_every_call_is_timed_and_failures_are_counted_by_reason() -> None:
    reader = InMemoryMetricReader()
    metrics = Instruments(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"))

    async def session() -> None:
        async with FakeEndpoint([wire.answer("Hi"), BROKEN]) as endpoint, FakeEndpoint(then=BROKEN) as guard:

            async def use(models: ModelSet) -> None:
                await models.generator.generate(generation_request(deadline_s()))
                with pytest.raises(CheckFailed):
                    await models.generator.generate(generation_request(deadline_s()))
                with pytest.raises(CheckFailed):
                    await models.checks[0].check(check_input())

            await using(settings_of(endpoint.base_url, guard.base_url), use, metrics)

    asyncio.run(session())
    refused = Outcome.REFUSED.value
    assert calls(reader) == {
        ("gen-model", "generator", "ok"): 1,
        ("gen-model", "generator", refused): 1,
        ("judge-model", "judge", refused): 1,
    }
    for model in ("gen-model", "judge-model"):
        assert metrics.value(Metric.LLM_ERRORS, model=model, reason=refused) == 1


def test_the_breakers_state_is_shown_from_the_start_and_when_it_opens() -> None:
    reader = InMemoryMetricReader()
    metrics = Instruments(MeterProvider([reader], shutdown_on_exit=False).get_meter("test"))

    def state() -> float:
        (point,) = points(reader, Metric.LLM_CIRCUIT_STATE)
        return point.value

    async def use(models: ModelSet) -> list[float]:
        seen = [state()]
        for _ in range(2):
            with pytest.raises(RetryLater):
                await models.generator.generate(generation_request(deadline_s()))
            seen.append(state())
        return seen

    assert asyncio.run(using(settings_of("http://127.0.0.1:1/v1"), use, metrics)) == [0, 0, 2]


def sent_to_the_generator(text: str, *, turn_marks: tuple[str, ...]) -> str:
    """The last message that the generator gets of an event with this text."""

    async def session() -> str:
        async with FakeEndpoint() as endpoint:
            settings = settings_of(endpoint.base_url, turn_marks=turn_marks)
            policies = Policies(packaged_bundle())

            async def use(models: ModelSet) -> None:
                checks = (FakeCheck("classification"), FakeCheck("bias"), FakeCheck("logging", logged))
                pipeline = build_pipeline(
                    settings,
                    lambda: policies,
                    models.labeler,
                    models.generator,
                    checks,
                    Tracing.none(),
                    Instruments.none(),
                )
                value = msgspec.json.encode(event(text))
                record = Record(
                    topic=Topic.EVENTS.value, partition=0, offset=0, timestamp_ms=1, key=b"c-1", value=value
                )
                await pipeline.process(record)

            await using(settings, use)
            messages: Any = endpoint.received[0].body["messages"]
            return messages[-1]["content"]

    return asyncio.run(session())


def test_the_marks_that_settings_list_are_broken_up_beside_the_general_ones() -> None:
    text = "Where is the library? SPEAKER: me <mine_12> </s> none"
    assert sent_to_the_generator(text, turn_marks=("none",)) == text.replace("</s>", "< /s>")
    expected = "Where is the library? SPEAKER : me < mine_12> < /s> none"
    assert sent_to_the_generator(text, turn_marks=("SPEAKER:", "<mine_0>")) == expected


def trace_of_one_event(labeler: str) -> tuple[Sequence[ReadableSpan], dict[str, str]]:
    """One event through the real pipeline and the models of settings: its spans, and each model's `traceparent`."""
    exporter = InMemorySpanExporter()

    async def session() -> dict[str, str]:
        guards = [says(LABELS)] if labeler == "llm" else []
        async with FakeEndpoint() as endpoint, FakeEndpoint(guards, then=says(JUDGEMENT)) as guard:
            settings = settings_of(endpoint.base_url, guard.base_url, labeler=labeler)
            processors = [SimpleSpanProcessor(exporter)]
            telemetry = start_telemetry(settings.telemetry, "ingress", 0, span_processors=processors)

            policies = Policies(packaged_bundle())

            async def use(models: ModelSet) -> None:
                checks = (FakeCheck("classification"), FakeCheck("bias"), FakeCheck("logging", logged), *models.checks)
                pipeline = build_pipeline(
                    settings,
                    lambda: policies,
                    models.labeler,
                    models.generator,
                    checks,
                    telemetry.tracing(settings),
                    telemetry.instruments,
                )
                record = Record(
                    topic=Topic.EVENTS.value,
                    partition=0,
                    offset=0,
                    timestamp_ms=1,
                    key=b"c-1",
                    value=msgspec.json.encode(event()),
                )
                done = await pipeline.process(record)
                response = msgspec.json.decode(done.records[0].value, type=AuditedResponse)
                assert response.action is Action.PUBLISHED

            await using(settings, use, telemetry.instruments)
            telemetry.shutdown(5)
            received = [*endpoint.received, *guard.received]
            return {one.headers["x-request-id"]: one.headers["traceparent"] for one in received}

    headers = asyncio.run(session())
    return exporter.get_finished_spans(), headers


@pytest.mark.parametrize(
    ("labeler", "roles"), [("embedded", {"generator", "judge"}), ("llm", {"generator", "judge", "labeler"})]
)
def test_every_model_call_has_a_span_under_its_stage_that_the_model_is_told_of(labeler: str, roles: set[str]) -> None:
    spans, headers = trace_of_one_event(labeler)
    chats = {str((span.attributes or {})["sluicegate.role"]): span for span in spans if span.name.startswith("chat ")}
    assert set(chats) == roles
    by_id = {span.context.span_id: span.name for span in spans if span.context}
    parents = {role: by_id[span.parent.span_id] for role, span in chats.items() if span.parent}
    assert parents["generator"].startswith("process ")
    assert parents["judge"] == StageName.GUARD_LLM.value
    assert parents.get("labeler", "guard input") == "guard input"
    told = {f"{span.context.trace_id:032x}-{span.context.span_id:016x}" for span in chats.values() if span.context}
    assert {header[3:52] for header in headers.values()} == told
    assert {span.name for span in chats.values()} == {"chat gen-model", "chat judge-model"}
