"""`sluicegate run`: run the stream workers of a node until a signal or the node's agent asks for a drain."""

import argparse
import logging
import signal
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from types import FrameType

from topology.contract.errors import RetryLater
from workers.policy.files import load_policies
from workers.process.captured_output import prints_as_logs
from workers.settings import InvalidSettings, Settings
from workers.settings.combinations import file_problems
from workers.stages.turn_marks import with_turn_marks
from workers.supervision.agent import Agent, Node
from workers.supervision.ray_session import ray_session
from workers.supervision.supervisor import Supervisor, SupervisorError
from workers.telemetry.logs import configure_logging
from workers.telemetry.setup import TELEMETRY_STOP_S, Telemetry, own_version, start_telemetry

logger = logging.getLogger("sluicegate.run")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Start and watch the workers; on SIGTERM, SIGINT or `POST /drain` drain them within `drain.timeout_s`.

    0 if every worker ended by itself. Raises SettingsError or PolicyError, before anything starts, for a file that is
    not there, a policy that must not be loaded, and a model whose marks of turns nobody says.
    """
    del arguments
    _check_files(settings)
    stop = threading.Event()
    _on_signals(stop)
    with prints_as_logs() as out, ExitStack() as after_ray:
        configure_logging(settings.telemetry.log_level, out)
        settings = _with_turn_marks(settings)
        logger.info("starting Ray" if not settings.ray.address else "connecting to Ray")
        with ray_session(settings.ray, show_actors=True):
            telemetry = start_telemetry(settings.telemetry, "supervisor")
            supervisor = Supervisor(settings, telemetry.instruments)
            try:
                after_ray.enter_context(_agent(settings, supervisor, telemetry, stop))
                return _supervise(supervisor, settings, stop)
            finally:
                telemetry.shutdown(TELEMETRY_STOP_S)


def _check_files(settings: Settings) -> None:
    """Refuse what each worker would refuse after Ray's start, again and again."""
    if problems := file_problems(settings):
        raise InvalidSettings(*problems)
    if settings.policy.source == "file":
        load_policies(settings)


def _with_turn_marks(settings: Settings) -> Settings:
    """Find the marks of turns once for all workers. While the model's server is away, each of them asks later."""
    try:
        return with_turn_marks(settings)
    except RetryLater as exc:
        logger.warning("the marks of turns are not known yet: %s", exc)
        return settings


@contextmanager
def _agent(settings: Settings, supervisor: Supervisor, telemetry: Telemetry, stop: threading.Event) -> Generator[None]:
    """Serve the port of this node from before the first actor starts until Ray has ended.

    A preStop hook waits for the port to close, and SIGTERM follows at once. Ray's shutdown takes a second and removes
    this process's handler of SIGTERM (`RayLog::UninstallSignalAction`), so that a clean end would look like a kill.
    """
    if not settings.agent.port:
        yield
        return
    node = Node(
        state=supervisor.node_state,
        families=lambda: [*telemetry.families(), *supervisor.families(settings.agent.scrape_timeout_s)],
        drain=stop.set,
        version=own_version(),
        audited=settings.topics.audited,
        poll_max_s=settings.kafka.max_poll_interval_ms / 1000,
    )
    agent = Agent(settings.agent, node)
    agent.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        agent.stop()


def _supervise(supervisor: Supervisor, settings: Settings, stop: threading.Event) -> int:
    supervisor.start()
    logger.info("started", extra={"slots": settings.ray.slots})
    is_up = True
    try:
        while not stop.wait(settings.ray.health_interval_s):
            supervisor.step()
    except SupervisorError:
        logger.exception("a worker did not start")
        is_up = False
    logger.info("draining", extra={"timeout_s": settings.drain.timeout_s})
    is_clean = supervisor.drain(settings.drain.timeout_s)
    logger.info("drained", extra={"clean": is_clean})
    return 0 if is_up and is_clean else 1


def _on_signals(stop: threading.Event) -> None:
    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
