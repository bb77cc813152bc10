"""What the official client sees of a door, over topics in memory; and what a stranger's connection cannot do."""

import http.client
import json
import socket
import threading
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.plugins.open_door import (
    API_KEY,
    LIMITED_KEY,
    TRUSTED_KEY,
    MemoryLink,
    answered,
    client_of,
    door_settings,
    open_door,
)
from tests.plugins.patience import wait_until
from topology.contract.events import Action, TextPart, UserContext
from topology.contract.headers import trace_carrier
from topology.contract.labels import AgeBand
from topology.contract.names import OnBlocked
from workers.cli import main
from workers.commands.demo.parts import free_port
from workers.door.running import RunningDoor
from workers.settings import Settings

ASK: list[Any] = [{"role": "user", "content": "Name a colour."}]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class World:
    """Doors over topics in memory."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.link = MemoryLink()
        self._directory = directory
        self._stack = stack
        self.door: RunningDoor | None = None
        self.metrics_port = free_port()

    def client(self, api_key: str = API_KEY, max_retries: int = 0, **changes: Any) -> openai.OpenAI:
        """A client of a door; the first call opens it with the changed settings."""
        return client_of(self.open(**changes), api_key, max_retries=max_retries)

    def open(self, **changes: Any) -> RunningDoor:
        if self.door is None:
            settings = Settings(door=door_settings(self._directory, metrics_port=self.metrics_port, **changes))
            self.door = self._stack.enter_context(open_door(settings, lambda *_: self.link))
        return self.door

    def connect(self, **changes: Any) -> socket.socket:
        return self._stack.enter_context(socket.create_connection(("127.0.0.1", self.open(**changes).port), 60))

    def metrics(self) -> str:
        """The page of the door's own port for it."""
        self.open()
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=60)
        connection.request("GET", "/metrics")
        found = connection.getresponse().read().decode()
        connection.close()
        return found

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.open().port, timeout=60)
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        found = response.status, response.read().decode(), {k.lower(): v for k, v in response.getheaders()}
        connection.close()
        return found


@pytest.fixture
def world(tmp_path: Path) -> Generator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def ask(client: openai.OpenAI, **changes: Any) -> Any:
    return client.chat.completions.create(**{"model": "sluicegate", "messages": ASK, **changes})


def refused(client: openai.OpenAI, **changes: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, **changes)
    return caught.value


def error(found: openai.APIStatusError) -> dict[str, Any]:
    assert isinstance(found.body, dict)
    return found.body


def test_an_answer_is_a_completion(world: World) -> None:
    found = ask(world.client())
    assert found.choices[0].message.content == "A plain answer."
    assert (found.choices[0].finish_reason, found.model) == ("stop", "sluicegate")
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (3, 7)
    assert found.sluicegate["action"] == "published"


def test_an_event_holds_what_the_key_says_of_its_user(world: World) -> None:
    ask(world.client(), user="anna", max_tokens=7)
    (event,) = world.link.events
    assert event.tenant_id == "tenant-a"
    assert event.user == UserContext(
        subject="anna", age_band=AgeBand.ADULT, age_verified=True, locale="de", region="DE"
    )
    assert event.generation.max_tokens == 7
    assert event.deadline_ms is not None


def test_a_stream_is_the_same_answer(world: World) -> None:
    chunks = list(ask(world.client(), stream=True, stream_options={"include_usage": True}))
    told = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in told) == "A plain answer."
    assert told[-1].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 4


def test_a_withheld_answer_is_a_filtered_one(world: World) -> None:
    world.link.answer = lambda event, own: answered(event, own, action=Action.WITHHELD, reason_codes=("V05",))
    assert ask(world.client()).choices[0].finish_reason == "content_filter"


def test_a_budget_that_is_spent_is_a_rate_limit_that_the_client_waits_for(world: World) -> None:
    spent: dict[str, Any] = {"action": Action.WITHHELD, "reason_codes": ("rate_limited",), "retry_after_ms": 5}
    world.link.answer = lambda event, own: answered(event, own, **(spent if len(world.link.events) < 3 else {}))
    found = refused(world.client())
    assert isinstance(found, openai.RateLimitError)
    assert error(found)["sluicegate"]["reasons"][0]["words"] == "the tenant is over its budget"
    assert ask(world.client(max_retries=2)).choices[0].message.content == "A plain answer."
    assert len(world.link.events) == 3


def test_a_model_that_is_down_is_asked_once(world: World) -> None:
    failed: dict[str, Any] = {"action": Action.WITHHELD, "reason_codes": ("deadline", "generator_unreachable")}
    world.link.answer = lambda event, own: answered(event, own, **failed)
    found = refused(world.client(max_retries=2))
    assert (found.status_code, len(world.link.events)) == (504, 1)
    assert "could not be reached" in error(found)["message"]


def test_without_an_answer_a_request_ends_two_seconds_after_its_deadline(world: World) -> None:
    world.link.answer = lambda *_: None
    found = refused(world.client(deadline_s=0.1, max_retries=2))
    assert (found.status_code, error(found)["code"], len(world.link.events)) == (504, "deadline", 1)
    assert error(found)["sluicegate"]["event_id"] == world.link.events[0].event_id


def test_brokers_that_are_away_are_told_with_a_wait(world: World) -> None:
    world.link.is_away = True
    found = refused(world.client())
    assert (found.status_code, found.response.headers["retry-after"]) == (503, "1")


def test_a_wrong_key_is_told_in_the_clients_own_way(world: World) -> None:
    assert isinstance(refused(world.client("sk-wrong")), openai.AuthenticationError)
    with pytest.raises(openai.AuthenticationError):
        world.client("sk-wrong").models.list()


def test_models_are_those_of_the_settings(world: World) -> None:
    client = world.client(models=("small", "large"))
    assert [model.id for model in client.models.list()] == ["small", "large"]
    assert client.models.retrieve("large").id == "large"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("huge")
    assert isinstance(refused(client, model="huge"), openai.NotFoundError)


def test_a_field_that_cannot_be_honoured_is_named(world: World) -> None:
    found = refused(world.client(), n=2)
    assert isinstance(found, openai.BadRequestError)
    assert (found.param, found.type, found.code) == ("n", "invalid_request_error", "unsupported_parameter")
    assert not world.link.events


def test_more_than_a_key_allows_is_refused(world: World) -> None:
    client = world.client(LIMITED_KEY)
    long: list[Any] = [{"role": "user", "content": "x" * 4096}]
    assert refused(client, messages=long).status_code == 413
    ask(client)
    found = refused(client)
    assert (found.status_code, error(found)["code"]) == (429, "requests_per_minute")


def test_more_than_the_door_takes_is_refused(world: World) -> None:
    long: list[Any] = [{"role": "user", "content": "x" * 200_000}]
    assert refused(world.client(body_bytes_max=100_000), messages=long).status_code == 413
    assert refused(world.client(), extra_headers={"x-long": "y" * 8000, "x-more": "y" * 9000}).status_code in {400, 431}
    assert ask(world.client()).choices


def test_a_text_that_no_worker_would_take_is_refused_here(world: World) -> None:
    long: list[Any] = [{"role": "user", "content": "x" * 400_001}]
    found = refused(world.client(), messages=long)
    assert (found.status_code, found.param) == (400, "messages")
    assert not world.link.events


def test_one_idempotency_key_is_one_event_and_one_answer(world: World) -> None:
    client, headers = world.client(), {"Idempotency-Key": "order-7"}
    assert ask(client, extra_headers=headers) == ask(client, extra_headers=headers)
    assert len(world.link.events) == 1
    other: list[Any] = [{"role": "user", "content": "Name a fruit."}]
    found = refused(client, messages=other, extra_headers=headers)
    assert (found.status_code, error(found)["code"]) == (409, "idempotency_conflict")
    ask(world.client(LIMITED_KEY), messages=other, extra_headers=headers)
    assert world.link.events[0].event_id != world.link.events[1].event_id


def test_a_user_who_goes_on_is_in_the_same_conversation_and_two_strangers_are_not(world: World) -> None:
    client = world.client()
    more = [*ASK, {"role": "assistant", "content": "Blue."}, {"role": "user", "content": "Another."}]
    for asked in ({"user": "anna"}, {"user": "anna", "messages": more}, {"user": "ben"}, {}, {}):
        ask(client, **asked)
    first, again, other, stranger, another = [event.conversation_id for event in world.link.events]
    assert first == again
    assert len({first, other, stranger, another}) == 4


def test_a_trusted_key_names_conversation_and_user(world: World) -> None:
    headers = {"x-sluicegate-conversation-id": "c-7", "x-sluicegate-user": "u-7", "x-sluicegate-age-band": "teen"}
    ask(world.client(TRUSTED_KEY), extra_headers=headers)
    (event,) = world.link.events
    assert (event.conversation_id, event.user.subject, event.user.age_band) == ("c-7", "u-7", AgeBand.TEEN)
    assert refused(world.client(), extra_headers=headers).status_code == 403


def test_the_clients_trace_goes_on_in_the_event(world: World) -> None:
    ask(world.client(), extra_headers={"traceparent": TRACEPARENT})
    assert trace_carrier(world.link.headers[0])["traceparent"] == TRACEPARENT


def test_a_check_judges_and_generates_nothing(world: World) -> None:
    body = {"messages": ASK, "answer": "Blue."}
    found = world.client().post("/checks", body=body, cast_to=object)
    assert isinstance(found, dict)
    assert (found["object"], found["passed"]) == ("sluicegate.check", True)
    (event,) = world.link.events
    assert event.candidate is not None
    assert event.candidate.parts == (TextPart(text="Blue."),)
    assert (event.candidate.on_blocked, event.candidate.is_turn) == (OnBlocked.TEMPLATE, False)


def test_probes_and_metrics(world: World) -> None:
    assert world.get("/livez")[:2] == (200, "ok\n")
    assert world.get("/readyz")[:2] == (200, "ok\n")
    world.link.is_ready = False
    assert world.get("/readyz")[:2] == (503, "not read\n")
    assert 'sluicegate_door_requests_total{process="door",route="/readyz",status="503"} 1.0' in world.metrics()


def test_metrics_do_not_stand_on_the_port_of_clients(world: World) -> None:
    assert world.get("/metrics", Authorization=f"Bearer {API_KEY}")[0] == 404


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2", 404), ("DELETE", "/v1/models", 405)])
def test_what_is_not_served_is_told_in_the_same_form(world: World, method: str, path: str, status: int) -> None:
    found, body, _ = world.get(path, method)
    error = json.loads(body)["error"]
    assert (found, error["code"]) == (status, "not_served")
    assert "POST /v1/chat/completions" in error["message"]


def test_no_page_may_call_unless_its_origin_is_named(world: World, tmp_path: Path) -> None:
    assert "access-control-allow-origin" not in world.get("/v1/models")[2]
    settings = Settings(door=door_settings(tmp_path, cors_origin="https://chat.example"))
    with open_door(settings, lambda *_: MemoryLink()) as door:
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=60)
        connection.request("OPTIONS", "/v1/chat/completions")
        response = connection.getresponse()
        assert (response.status, response.getheader("Access-Control-Allow-Origin")) == (204, "https://chat.example")


@pytest.mark.parametrize("key", ["port", "metrics_port"])
def test_a_port_that_is_taken_is_told_by_its_setting(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(door=door_settings(tmp_path, **{key: taken.getsockname()[1]}))
        with (
            pytest.raises(AssertionError, match=rf"door\.{key}', '{taken.getsockname()[1]}', .*in use"),
            open_door(settings, lambda *_: MemoryLink()),
        ):
            pass


def test_half_open_connections_keep_no_honest_one_out(world: World) -> None:
    """All of one address: the oldest that has not sent its request makes room."""
    half = [world.connect(connections_per_peer_max=8) for _ in range(40)]
    for each in half[-8:]:
        each.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
    assert ask(world.client()).choices[0].finish_reason == "stop"


def test_a_request_that_does_not_arrive_is_cut_off(world: World) -> None:
    slow = world.connect(request_timeout_s=0.2)
    slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
    assert slow.recv(1024) == b""


def test_a_client_that_went_away_leaves_nothing_behind(world: World) -> None:
    world.link.answer = lambda *_: None
    with pytest.raises(openai.APITimeoutError):
        world.client().with_options(timeout=0.2).chat.completions.create(model="sluicegate", messages=ASK)
    wait_until(lambda: len(world.link.events) == 1)
    threading.Thread(target=lambda: world.link.publish(answered(world.link.events[0], "late"), "d")).start()
    wait_until(lambda: "sluicegate_door_index_answers" in world.metrics())


def test_the_command_refuses_to_start_without_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "sluicegate.toml"
    config.write_text(f'[door]\nkeys_file = "{tmp_path / "none.toml"}"\n', encoding="utf-8")
    assert main(["door", "--config", str(config)]) == 2
    assert "door.keys_file" in capsys.readouterr().err
