"""A worker as `sluicegate run` builds it, in a process of its own, and a chat service that traces what it sends."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import structs

from tests.plugins.patience import PATIENCE_S
from topology.contract.events import ConversationEvent
from workers.kafka.sender import EventSender
from workers.settings import Settings
from workers.telemetry.setup import start_telemetry

CHAT_SERVICE = "chat-service"
FLUSH_S = 20.0


@contextmanager
def running_worker(settings: Settings, directory: Path, **variables: str) -> Generator[Path]:
    """The worker while the block runs, and its standard output; afterwards it is drained and must have ended well."""
    given, log = directory / "settings.pickle", directory / "worker.log"
    given.write_bytes(pickle.dumps(settings))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.inline_worker", given],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text(errors="replace")[-2000:]
    finally:
        process.kill()
        process.wait(10)


def send_traced(settings: Settings, events: Sequence[ConversationEvent]) -> None:
    """Send the events as a chat service does, each under a producer span of its own."""
    chat = structs.replace(settings.telemetry, service_name=CHAT_SERVICE)
    telemetry = start_telemetry(chat, CHAT_SERVICE)
    sender = EventSender(settings.kafka, settings.topics.events, telemetry.tracer)
    try:
        for event in events:
            sender.send_event(event)
        sender.flush()
    finally:
        sender.close()
        telemetry.shutdown(FLUSH_S)
