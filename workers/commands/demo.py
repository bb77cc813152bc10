"""`sluicegate demo`: the whole path on this machine, on real parts."""

import argparse
import logging
from pathlib import Path

from rich.console import Console

from workers.logs import configure_logging
from workers.printed import prints_as_logs
from workers.settings import Settings

logger = logging.getLogger("sluicegate.demo")

DIRECTORY = Path("var") / "demo"


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run it; 0 when every record ended as it must. What is left to look at is under var/demo."""
    from workers.broker_jars import BrokerError
    from workers.demo.rounds import ModelChoice, rounds_of
    from workers.demo.show import Demo

    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with (DIRECTORY / "log.jsonl").open("w") as log, prints_as_logs() as terminal:
        console = Console(file=terminal)

        def log_to_file() -> None:
            configure_logging(settings.telemetry.log_level, log)

        log_to_file()
        plain = arguments.plain or not console.is_terminal
        demo = Demo(settings, console, DIRECTORY.resolve(), plain=plain, restore_logging=log_to_file)
        try:
            rounds = rounds_of(ModelChoice(arguments.model), arguments.count, arguments.seed)
            return demo.run(
                rounds, arguments.seed, kill=arguments.kill, mock=arguments.mock_broker, keep=arguments.keep
            )
        except (BrokerError, TimeoutError, RuntimeError) as exc:
            console.print(f"sluicegate demo: {exc}", style="red")
            return 1
        except Exception as exc:
            # Logged here: after this block the log file is closed, and a traceback would go nowhere.
            logger.exception("the demonstration failed")
            console.print(
                f"sluicegate demo: {type(exc).__name__}; {DIRECTORY / 'log.jsonl'} has the details", style="red"
            )
            return 1
