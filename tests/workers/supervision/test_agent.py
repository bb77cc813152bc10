"""The port of a node: what probes answer, who may drain, and what is on the metrics page."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import structs

from topology.contract.errors import SettingsError
from topology.telemetry.metrics import Metric
from workers.cli import main
from workers.commands.demo.parts import free_port
from workers.policy.keeper import PolicyHealth
from workers.settings import AgentSettings, Settings, TelemetrySettings
from workers.settings.secret import Secret
from workers.stream.loop import LoopState
from workers.supervision.agent import Agent, Node
from workers.supervision.node_client import AgentError, agent_url, ask_to_drain, node_status
from workers.supervision.node_state import (
    REPLACE_GRACE_S,
    ActorStatus,
    NodeState,
    WorkerHealth,
    not_live,
    not_ready,
    not_started,
)
from workers.telemetry.model_health import ModelHealth, ModelState
from workers.telemetry.setup import start_telemetry

LOOP = WorkerHealth(
    state=LoopState.RUNNING,
    poll_age_s=0.1,
    held_count=3,
    ready_count=1,
    committed_count=99,
    paused=False,
    assigned=True,
    policy=PolicyHealth(
        ref="core@1.2.0#abc",
        source="file",
        overlay_count=0,
        shadow_refs=(),
        loaded_ms=1,
        looked_ms=2,
        refused_count=3,
    ),
)
INGRESS = ActorStatus(name="ingress-0", role="ingress", pid=2, restart_count=0, state="ready", loop=LOOP)
STAGE = ActorStatus(name="stage-bias-0", role="stage", pid=3, restart_count=0, state="ready")
WELL = NodeState(beat_age_s=0.1, actors=(STAGE, INGRESS))
BEAT_MAX_S, POLL_MAX_S = 30.0, 15.0


def with_loop(**changes: object) -> NodeState:
    return structs.replace(WELL, actors=(STAGE, structs.replace(INGRESS, loop=structs.replace(LOOP, **changes))))


class World:
    """An agent on a free port, and the node that it speaks for."""

    def __init__(self, **changed: float) -> None:
        self.state = WELL
        self.drained = threading.Event()
        self.telemetry = start_telemetry(TelemetrySettings(), "ingress", 0)
        settings = structs.replace(AgentSettings(port=free_port(), token=Secret("let me")), **changed)
        node = Node(
            state=lambda: self.state,
            families=self.telemetry.families,
            drain=self.drained.set,
            version="1.2.3",
            audited="audited",
            poll_max_s=POLL_MAX_S,
        )
        self.agent = Agent(settings, node)
        self.agent.start()
        self.url = f"http://127.0.0.1:{self.agent.port}"

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()

    def send(self, raw: bytes) -> socket.socket:
        """Open a connection and send something on it."""
        connection = socket.create_connection(("127.0.0.1", self.agent.port), timeout=60)
        connection.sendall(raw)
        return connection

    def said(self, raw: bytes) -> bytes:
        """What is answered to these bytes until the connection is closed."""
        with self.send(raw) as connection:
            return until_closed(connection)


def until_closed(connection: socket.socket) -> bytes:
    said = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            said += part
    return said


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.agent.stop()


def test_a_node_at_work_passes_every_probe(world: World) -> None:
    assert {path: world.get(path) for path in ("/livez", "/readyz", "/startupz")} == {
        "/livez": (200, "ok\n"),
        "/readyz": (200, "ok\n"),
        "/startupz": (200, "ok\n"),
    }


def test_a_failing_probe_says_why(world: World) -> None:
    world.state = with_loop(assigned=False)
    assert world.get("/readyz") == (503, "ingress-0 is not in its group\n")
    assert world.get("/livez")[0] == 200


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (structs.replace(WELL, beat_age_s=BEAT_MAX_S + 1), "nobody has looked"),
        (with_loop(poll_age_s=POLL_MAX_S + REPLACE_GRACE_S + 1), "has not polled"),
    ],
)
def test_liveness_is_progress(state: NodeState, fault: str) -> None:
    assert not_live(WELL, BEAT_MAX_S, POLL_MAX_S) == ()
    assert any(fault in each for each in not_live(state, BEAT_MAX_S, POLL_MAX_S))


@pytest.mark.parametrize(
    "state",
    [
        with_loop(poll_age_s=POLL_MAX_S + 1),
        with_loop(state=LoopState.DRAINING, poll_age_s=1_000.0),
        with_loop(stopped_count=2, assigned=False),
        NodeState(beat_age_s=0.0, actors=()),
    ],
)
def test_what_a_restart_would_not_mend_does_not_fail_liveness(state: NodeState) -> None:
    assert not_live(state, BEAT_MAX_S, POLL_MAX_S) == ()


@pytest.mark.parametrize(
    "state",
    [
        structs.replace(WELL, is_draining=True),
        NodeState(beat_age_s=0.0, actors=()),
        structs.replace(WELL, actors=(structs.replace(STAGE, state="unhealthy"), INGRESS)),
        structs.replace(WELL, actors=(STAGE, structs.replace(INGRESS, loop=None))),
        with_loop(state=LoopState.DRAINING),
        with_loop(assigned=False),
    ],
)
def test_a_node_that_does_not_do_its_share_is_not_ready(state: NodeState) -> None:
    assert not_ready(state)


def test_a_node_has_started_once_every_actor_was_up() -> None:
    assert not_started(WELL) == ()
    assert not_started(NodeState(beat_age_s=0.0, actors=()))
    assert not_started(structs.replace(WELL, actors=(structs.replace(STAGE, pid=None), INGRESS)))


def test_the_metrics_page_shows_what_processes_counted(world: World) -> None:
    world.telemetry.instruments.count(Metric.EVENTS_CONSUMED, 5, topic="in")
    status, body = world.get("/metrics")
    assert status == 200
    assert 'sluicegate_events_consumed_total{process="ingress-0",topic="in"} 5.0' in body


def test_status_adds_up_and_reads_back(world: World) -> None:
    world.telemetry.instruments.count(Metric.EVENTS_CONSUMED, 5, topic="in")
    world.telemetry.instruments.count(Metric.EVENTS_PUBLISHED, 4, topic="audited")
    world.telemetry.instruments.count(Metric.EVENTS_PUBLISHED, 4, topic="audit")
    status = node_status(world.url)
    assert (status.totals.consumed, status.totals.published) == (5, 4)
    assert status.actors == WELL.actors
    assert (status.live, status.ready, status.version) == (True, True, "1.2.3")


def test_the_command_names_models_guards_queues_and_budgets_and_fails_if_something_is_wrong(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = world.telemetry.instruments
    metrics.count(Metric.ACTIONS, 12, action="withheld", reason="guard_failed")
    metrics.count(Metric.STAGE_ERRORS, 12, stage="classification", reason="timeout")
    metrics.count(Metric.STAGE_ERRORS, 1, stage="classification", reason="crashed")
    metrics.count(Metric.TENANT_EVENTS, 7, budget="acme", outcome="limited")
    metrics.gauge_set(Metric.INFLIGHT_EVENTS, 3)
    assert main(["status", "--url", world.url]) == 0
    shown = capsys.readouterr().out
    assert "in work 3" in shown
    assert "withheld 12" in shown
    assert "guard classification: crashed 1, late 12" in shown
    assert "budget acme: refused 7" in shown
    gone = ModelHealth(
        role="generator",
        model="scripted",
        address="127.0.0.1:28001",
        state=ModelState.UNREACHABLE,
        for_s=28.0,
        reason="connection refused",
        failed_count=19,
    )
    world.state = with_loop(models=(gone,), troubles=("model scripted cannot be reached",))
    assert main(["status", "--url", world.url]) == 1
    shown = capsys.readouterr().out
    told = "model scripted (generator) of ingress-0: unreachable for 28 s (connection refused), 19 requests failed"
    assert told in " ".join(shown.split())
    assert "ingress-0: model scripted cannot be reached" in shown


def test_its_numbers_fit_a_terminal_of_80_columns(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = world.telemetry.instruments
    metrics.count(Metric.EVENTS_CONSUMED, 12_345_678, topic="in")
    metrics.count(Metric.EVENTS_PUBLISHED, 12_345_670, topic="audited")
    metrics.gauge_set(Metric.CONSUMER_LAG, 1_234, topic="in", partition="0")
    assert main(["status", "--url", world.url]) == 0
    headline, flow, ends, *_ = capsys.readouterr().out.splitlines()
    assert headline.startswith("sluicegate 1.2.3")
    assert flow == "in 12,345,678   answered 12,345,670   in work 0"
    assert ends == "lag 1,234 records, oldest 0.0 s   dead letters 0   withheld 0"
    assert max(map(len, (headline, flow, ends))) <= 80


def test_an_agent_that_does_not_listen_is_said_with_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(AgentError) as caught:
        node_status(url)
    assert str(caught.value) == (
        f"nothing listens at {url}: is `sluicegate run` up on this machine? --url names another"
    )


def test_only_the_token_drains(world: World) -> None:
    for token in ("", "let me in"):
        with pytest.raises(AgentError, match="401"):
            ask_to_drain(world.url, token)
    assert not world.drained.is_set()
    ask_to_drain(world.url, "let me")
    assert world.drained.wait(60)


HALF_A_HEAD = b"GET /livez HTTP/1.1\r\nHost: node\r\nX-Slow: "
HALF_A_BODY = b"POST /drain HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer let me\r\nContent-Length: 9\r\n\r\n1234"
WHOLE = b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n"


@pytest.mark.parametrize("raw", [b"", HALF_A_HEAD, HALF_A_BODY])
def test_a_request_that_does_not_arrive_is_cut_off(raw: bytes) -> None:
    world = World(request_timeout_s=0.2)
    assert world.said(raw) == b""
    assert not world.drained.is_set()
    world.agent.stop()


def test_half_sent_requests_beyond_the_bound_make_room_for_a_probe_of_the_same_address() -> None:
    world = World(request_timeout_s=600, connections_per_peer_max=3)
    half = [world.send(HALF_A_HEAD) for _ in range(12)]
    assert world.get("/livez") == (200, "ok\n")
    assert [until_closed(each) for each in half[:9]] == [b""] * 9
    world.agent.stop()
    for each in half:
        each.close()


def test_all_addresses_together_have_a_bound_too() -> None:
    world = World(request_timeout_s=600, connections_max=3)
    half = [world.send(HALF_A_HEAD) for _ in range(5)]
    assert [until_closed(each) for each in half[:2]] == [b""] * 2
    assert world.get("/livez") == (200, "ok\n")
    world.agent.stop()
    for each in half:
        each.close()


def test_a_connection_carries_one_request(world: World) -> None:
    said = world.said(WHOLE + WHOLE)
    assert said.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in said


def test_a_token_that_is_not_utf_8_is_a_wrong_one(world: World) -> None:
    said = world.said(b"POST /drain HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 401")
    assert not world.drained.is_set()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET /\xff%zz HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: node\r\nAccept: application/openmetrics-text; version=\xff; q=x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: node\r\nContent-Length: x\r\n\r\n",
        b"POST /drain HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /drain HTTP/1.1\r\nHost: node\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /drain HTTP/1.1\r\nHost: node\r\nContent-Length: 4000\r\n\r\n" + b"x" * 4000,
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"PUT /livez HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET /elsewhere HTTP/1.1\r\nHost: node\r\n\r\n",
    ],
)
def test_what_no_client_should_send_is_no_error_of_the_server(world: World, raw: bytes) -> None:
    said = world.said(raw)
    assert not said.startswith(b"HTTP/1.1 5")
    assert not world.drained.is_set()


def test_a_port_that_is_taken_is_an_error_that_names_it(world: World) -> None:
    second = Agent(AgentSettings(port=world.agent.port), world.agent._node)
    with pytest.raises(SettingsError, match=f"agent.port.*{world.agent.port}.*free port"):
        second.start()


def test_an_address_to_listen_on_everywhere_is_asked_at_loopback() -> None:
    everywhere = Settings(agent=AgentSettings(host="0.0.0.0", port=9464))
    assert agent_url(everywhere) == "http://127.0.0.1:9464"
    with pytest.raises(AgentError, match=r"agent\.port is 0"):
        agent_url(Settings(agent=AgentSettings(port=0)))


def test_the_command_shows_a_node_and_its_exit_status_says_whether_it_is_ready(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["status", "--url", world.url]) == 0
    shown = capsys.readouterr().out
    assert "ready" in shown
    assert "ingress-0" in shown
    assert "policy core@1.2.0#abc: ingress-0" in shown
    assert "ingress-0 refuses offered policies, for 3 reasons" in shown
    world.state = structs.replace(WELL, is_draining=True)
    assert main(["status", "--url", world.url, "--json"]) == 1
    assert '"draining":true' in capsys.readouterr().out
    config = tmp_path / "settings.toml"
    config.write_text('[agent]\ntoken = "let me"\n', encoding="utf-8")
    assert main(["--config", str(config), "drain", "--url", world.url]) == 0
    assert world.drained.wait(60)
    assert main(["status", "--url", "nowhere"]) == 1
    assert "http://" in capsys.readouterr().err
