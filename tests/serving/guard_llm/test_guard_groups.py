"""A guard LLM asked group by group: which questions it gets, how many, and that the stricter label stands."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pytest

from serving.endpoint.client import ChatClient, Endpoint
from serving.engine.child_server import VllmServer
from serving.guard_llm.adapters import GuardBounds, LlmCheck, LlmLabeler
from tests.contracts.samples import check_input, event
from tests.plugins import fake_endpoint as wire
from tests.plugins.fake_endpoint import FakeEndpoint, Play
from tests.plugins.vllm_server import TINY_MODEL
from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.labels import CategoryId, Confidence, Intent, Outcome, RequestFinding
from topology.policy.loading import packaged_bundle
from topology.ports import CheckInput
from workers.process.clock import SystemClock

BUNDLE = packaged_bundle()
BOUNDS = GuardBounds(model="judge", prompts="groups", groups_max=2)
T = TypeVar("T")
Answers = dict[str, dict[str, Any]]
"""What the endpoint says, by the first words of the prompt that it was given."""

REQUEST_ALL, DRAFT_ALL, MANNER = "You label what the user", "You label what a draft", "# MA"
ASKED = {
    "category": "cyber.offense",
    "harm": 2,
    "intent": "dual_use",
    "context": "educational",
    "asked_detail": 2,
    "input_detail": 0,
    "supplied_in_full": False,
    "confidence": "high",
}
REQUEST: dict[str, Any] = {
    "findings": [ASKED],
    "vulnerability": "none",
    "risk_subject": "self",
    "urgent": False,
    "touches_risk": False,
    "signals": [],
    "language": "en",
}
SEEN = {"category": "cyber.offense", "harm": 3, "detail": 1, "confidence": "high"}
DRAFT: dict[str, Any] = {
    "findings": [SEEN],
    "bare_refusal": False,
    "declines": "none",
    "obeyed_injection": False,
    "privileged_leak": False,
    "unfair": False,
}
CYBER_REQUEST = {
    "category": "cyber.offense",
    "harm": 3,
    "intent": "malicious",
    "asked_detail": 3,
    "rule": "CY.a",
    "confidence": "high",
}
CYBER_DRAFT = {"category": "cyber.offense", "harm": 3, "detail": 3, "rule": "CY.a", "confidence": "high"}
NO_FAULT: dict[str, Any] = {"rationale": "", "faults": []}


def group(*findings: dict[str, Any]) -> dict[str, Any]:
    return {"rationale": "It would run.", "findings": list(findings)}


def by_prompt(endpoint: FakeEndpoint, answers: Answers) -> Play:
    """Answers each request by its prompt; what has no answer gets none that decodes."""

    def says() -> Play:
        messages = endpoint.received[-1].body["messages"]
        assert isinstance(messages, list)
        prompt = str(messages[0]["content"])
        found = next((answer for start, answer in answers.items() if prompt.startswith(start)), None)
        return wire.answer(json.dumps(found) if found is not None else "nothing")

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says()(reader, writer)

    return play


def run(answers: Answers, use: Callable[[ChatClient], Awaitable[T]]) -> tuple[T, list[str]]:
    """What `use` made of the answers, and the prompts' first lines in the order of their arrival."""

    async def scenario() -> tuple[T, list[str]]:
        async with FakeEndpoint() as endpoint:
            endpoint.then = by_prompt(endpoint, answers)
            client = ChatClient(Endpoint(name="judge", base_url=endpoint.base_url), clock=SystemClock())
            try:
                made = await use(client)
            finally:
                await client.aclose()
            return made, [_prompt(received.body) for received in endpoint.received]

    return asyncio.run(scenario())


def _prompt(body: dict[str, object]) -> str:
    messages = body["messages"]
    assert isinstance(messages, list)
    return str(messages[0]["content"]).partition(":")[0]


def labeled(answers: Answers) -> tuple[Any, list[str]]:
    return run(answers, lambda client: LlmLabeler(client, BOUNDS, bundle=BUNDLE, clock=SystemClock()).label(event()))


def checked(answers: Answers, given: CheckInput) -> tuple[Any, list[str]]:
    return run(answers, lambda client: LlmCheck(client, BOUNDS, bundle=BUNDLE, clock=SystemClock()).check(given))


def asked_for(*categories: str, harm: int = 2) -> CheckInput:
    found = tuple(
        RequestFinding(category=CategoryId(name), harm=max(0, harm - place)) for place, name in enumerate(categories)
    )
    given = check_input()
    return msgspec.structs.replace(given, labels=msgspec.structs.replace(given.labels, findings=found))


def test_a_request_in_which_nothing_is_found_costs_one_call() -> None:
    labels, prompts = labeled({REQUEST_ALL: REQUEST | {"findings": []}})
    assert labels.findings == ()
    assert len(prompts) == 1


def test_a_request_is_asked_about_again_under_the_definitions_of_its_group() -> None:
    labels, prompts = labeled({REQUEST_ALL: REQUEST, "# CY": group(CYBER_REQUEST)})
    assert prompts[1:] == ["# CY"]
    (found,) = labels.findings
    assert (found.harm, found.intent, found.asked_detail) == (3, Intent.MALICIOUS, 3)
    assert found.confidence is Confidence.LOW
    assert found.context == "educational"


def test_a_group_that_finds_nothing_takes_nothing_away() -> None:
    labels, _ = labeled({REQUEST_ALL: REQUEST, "# CY": group()})
    assert [found.harm for found in labels.findings] == [2]


def test_a_draft_is_asked_about_by_the_groups_of_its_request_and_on_its_manner() -> None:
    answers = {DRAFT_ALL: DRAFT, "# CY": group(CYBER_DRAFT), MANNER: NO_FAULT | {"faults": ["unfair", "preaching"]}}
    report, prompts = checked(answers, asked_for("cyber.offense", "cyber.defense"))
    assert sorted(prompt for prompt in prompts if prompt.startswith("#")) == ["# CY", "# MA"]
    assert len(prompts) == 3
    (found,) = report.findings
    assert (found.detail_lo, found.detail_hi) == (1, 3)
    assert report.unfair is True
    assert report.soft_violations == ("preaching",)


def test_no_more_groups_are_asked_than_the_bound_and_the_gravest_first() -> None:
    answers = {DRAFT_ALL: DRAFT, MANNER: NO_FAULT} | {start: group() for start in ("# CY", "# WR", "# PR")}
    given = asked_for("cyber.offense", "privacy.private", "wrongdoing.violent", harm=4)
    _, prompts = checked(answers, given)
    assert {prompt for prompt in prompts if prompt.startswith("#")} == {"# CY", "# PR", "# MA"}


def test_a_category_that_only_its_group_sees_is_a_finding() -> None:
    answers = {DRAFT_ALL: DRAFT | {"findings": []}, "# CY": group(CYBER_DRAFT), MANNER: NO_FAULT}
    report, _ = checked(answers, asked_for("cyber.offense"))
    assert [(found.category, found.detail_hi) for found in report.findings] == [("cyber.offense", 3)]


@pytest.mark.parametrize("missing", [DRAFT_ALL, "# CY", MANNER])
def test_one_answer_that_cannot_be_read_and_the_guard_could_not_tell(missing: str) -> None:
    answers = {DRAFT_ALL: DRAFT, "# CY": group(CYBER_DRAFT), MANNER: NO_FAULT}
    del answers[missing]
    with pytest.raises(CheckFailed) as caught:
        checked(answers, asked_for("cyber.offense"))
    assert (caught.value.outcome, caught.value.guard) == (Outcome.UNPARSABLE, "guard_llm")


def test_a_criterion_of_another_group_is_no_answer() -> None:
    answers = {DRAFT_ALL: DRAFT, "# CY": group(CYBER_DRAFT | {"rule": "WR.a"}), MANNER: NO_FAULT}
    with pytest.raises(CheckFailed):
        checked(answers, asked_for("cyber.offense"))


@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_vllm_decodes_under_the_schemas_of_a_group_and_of_manner(vllm_server: VllmServer) -> None:
    """Random weights label at random; that every answer fits its schema is what guided decoding is for."""

    async def scenario() -> CheckReport:
        endpoint = Endpoint(name="judge", base_url=vllm_server.base_url, request_timeout_s=120.0)
        client = ChatClient(endpoint, clock=SystemClock())
        bounds = msgspec.structs.replace(BOUNDS, model=TINY_MODEL, tokens_max=2048)
        check = LlmCheck(client, bounds, bundle=BUNDLE, clock=SystemClock())
        try:
            return await check.check(asked_for("cyber.offense", "hate"))
        finally:
            await check.aclose()

    assert asyncio.run(scenario()).check == "guard_llm"
