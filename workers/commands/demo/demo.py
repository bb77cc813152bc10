"""`sluicegate demo`: run the whole path on this machine, on real parts."""

import argparse
import fcntl
import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from topology.contract.errors import SluicegateError
from workers.commands.console.terminal import Terminal
from workers.process.captured_output import prints_as_logs
from workers.process.exit_codes import ExitCode
from workers.settings import Settings
from workers.telemetry.logs import configure_logging

logger = logging.getLogger("sluicegate.demo")

DIRECTORY = Path("var") / "demo"

COUNT_MAX = 10_000
"""The most conversations: more than a run has time for, and all are made before the first is sent."""


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the demo; 0 if every record ended as it must, in time. Files to look at remain in var/demo."""
    errors = Terminal("stderr")
    if arguments.count > COUNT_MAX:
        errors.say(f"sluicegate demo: --count {arguments.count}: at most {COUNT_MAX}", "red")
        return ExitCode.WRONG_USE
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with _sole_use() as is_ours:
        if is_ours:
            return _run(arguments, settings, errors)
    errors.say(f"sluicegate demo: another one runs in {DIRECTORY.resolve()}", "red")
    return 1


def _run(arguments: argparse.Namespace, settings: Settings, errors: Terminal) -> int:
    from workers.commands.demo.rounds import rounds_of
    from workers.commands.demo.show import Demo
    from workers.development.jars import BrokerError

    with (DIRECTORY / "log.jsonl").open("w") as log, prints_as_logs() as terminal:
        console = Console(file=terminal)

        def log_to_file() -> None:
            configure_logging(settings.telemetry.log_level, log)

        log_to_file()
        plain = arguments.plain or not console.is_terminal
        demo = Demo(settings, console, DIRECTORY.resolve(), plain=plain, restore_logging=log_to_file)
        try:
            rounds = rounds_of(arguments.model, arguments.count, arguments.seed)
            return demo.run(
                rounds, arguments.seed, kill=arguments.kill, mock=arguments.mock_broker, keep=arguments.keep
            )
        except SluicegateError:
            raise  # the command line says what to do about it
        except (BrokerError, TimeoutError, RuntimeError) as exc:
            errors.say(f"sluicegate demo: {exc}", "red")
            return 1
        except Exception as exc:
            # Logged here, because the log file is closed after this block and the traceback would be lost.
            logger.exception("the demo failed")
            errors.say(f"sluicegate demo: {type(exc).__name__}; {DIRECTORY / 'log.jsonl'} has the details", "red")
            return 1


@contextmanager
def _sole_use() -> Generator[bool]:
    """Yield whether no other demo uses the directory; none can while the block runs."""
    with (DIRECTORY / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
