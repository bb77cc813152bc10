"""`sluicegate demo`: the whole path on this machine, on real parts."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from workers.logs import configure_logging
from workers.settings import Settings

DIRECTORY = Path("var") / "demo"


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run it; 0 when every record ended as it must. What is left to look at is under var/demo."""
    from workers.broker_jars import BrokerError
    from workers.demo.show import Demo

    DIRECTORY.mkdir(parents=True, exist_ok=True)
    console = Console()
    with (DIRECTORY / "log.jsonl").open("w") as log:
        configure_logging(settings.telemetry.log_level, log)
        demo = Demo(settings, console, DIRECTORY.resolve(), plain=arguments.plain or not console.is_terminal)
        try:
            return demo.run(
                arguments.count, arguments.seed, kill=arguments.kill, mock=arguments.mock_broker, keep=arguments.keep
            )
        except (BrokerError, TimeoutError, RuntimeError) as exc:
            print(f"sluicegate demo: {exc}", file=sys.stderr)
            return 1
