"""`sluicegate run`: the stream workers of this process, until a signal asks for a drain."""

import argparse
import logging
import signal
import sys
import threading
from types import FrameType

from workers.logs import configure_logging
from workers.settings import Settings

logger = logging.getLogger("sluicegate.run")


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Start, watch, and on SIGTERM or SIGINT drain within `drain.timeout_s`. 0 when every worker ended by itself."""
    del arguments
    from workers.assembly import TELEMETRY_STOP_S
    from workers.ray_session import ray_session
    from workers.supervisor import Supervisor, SupervisorError
    from workers.telemetry import start_telemetry

    configure_logging(settings.telemetry.log_level, sys.stdout)
    stop = threading.Event()
    _on_signals(stop)
    with ray_session(settings.ray):
        telemetry = start_telemetry(settings.telemetry, "supervisor")
        supervisor = Supervisor(settings, telemetry.instruments)
        supervisor.start()
        logger.info("started", extra={"slots": settings.ray.slots})
        try:
            while not stop.wait(settings.ray.health_interval_s):
                supervisor.step()
        except SupervisorError:
            logger.exception("a worker does not come up")
            supervisor.drain(settings.drain.timeout_s)
            return 1
        logger.info("draining", extra={"timeout_s": settings.drain.timeout_s})
        clean = supervisor.drain(settings.drain.timeout_s)
        logger.info("drained", extra={"clean": clean})
        telemetry.shutdown(TELEMETRY_STOP_S)
        return 0 if clean else 1


def _on_signals(stop: threading.Event) -> None:
    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
