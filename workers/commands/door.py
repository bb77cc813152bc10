"""`sluicegate door`: an OpenAI-compatible HTTP way in, until a signal."""

import argparse
import asyncio
import signal
import sys
from types import FrameType

import uvloop

from workers.door.running import RunningDoor
from workers.kafka.client import kafka_session
from workers.settings import InvalidSettings, Settings
from workers.settings.combinations import file_problems
from workers.telemetry.logs import configure_logging
from workers.telemetry.setup import TELEMETRY_STOP_S, start_telemetry


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Raises SettingsError, before it listens, for files that are not there."""
    del arguments
    if problems := file_problems(settings):
        raise InvalidSettings(*problems)
    configure_logging(settings.telemetry.log_level, sys.stdout)
    with kafka_session(settings.kafka, "door", settings.topics.audited):
        pass  # the topic is there, and so are the brokers
    telemetry = start_telemetry(settings.telemetry, "door")
    try:
        door = RunningDoor(settings, telemetry)

        def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
            door.stop()

        signal.signal(signal.SIGTERM, ask_to_stop)
        signal.signal(signal.SIGINT, ask_to_stop)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(door.serve())
    finally:
        telemetry.shutdown(TELEMETRY_STOP_S)
    return 0
