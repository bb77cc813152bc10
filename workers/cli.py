"""The command line: parses, loads settings, and hands over to one module of `workers.commands` per command."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Protocol, cast

from topology.errors import PolicyError, SettingsError, SluicegateError
from workers.ray_session import prepare_ray
from workers.settings import InvalidSettings, Settings, load_settings

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""As a shell reports what SIGINT and SIGPIPE end."""

TIMEOUT_S_MAX = 600.0

Command = Callable[[argparse.Namespace, Settings], int]


class Subparsers(Protocol):
    """What `add_subparsers` returns; argparse gives its type no public name."""

    def add_parser(self, name: str, *, parents: list[argparse.ArgumentParser], help: str) -> argparse.ArgumentParser:  # noqa: A002
        """Add a command."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 failed, 2 wrong use or settings, 130 and 141 by signal.

    What can be expected to fail is one line on standard error for each problem; a traceback is a bug.
    """
    arguments = build_parser().parse_args(argv)
    settings = Settings()
    try:
        settings = load_settings(arguments.config, os.environ)
        prepare_ray(settings.ray)
        status = _command(arguments.command)(arguments, settings)
        sys.stdout.flush()  # here, so that a reader that went away is found out about here
    except KeyboardInterrupt:
        status = _failed("interrupted", status=EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = EXIT_BROKEN_PIPE
    except InvalidSettings as exc:
        status = _failed(*map(str, exc.problems), status=EXIT_USAGE)
    except (SettingsError, PolicyError) as exc:
        status = _failed(str(exc), status=EXIT_USAGE)
    except SluicegateError as exc:
        status = _failed(_explained(exc, settings))
    except OSError as exc:
        status = _failed(_os_error(exc))
    return status


def _failed(*problems: str, status: int = EXIT_FAILED) -> int:
    for problem in problems:
        print(f"sluicegate: {problem}", file=sys.stderr)
    return status


def _explained(error: SluicegateError, settings: Settings) -> str:
    from workers.kafka_errors import KafkaUnavailable  # loads the client library, which was loaded to raise it

    if not isinstance(error, KafkaUnavailable):
        return str(error)
    servers = ", ".join(settings.kafka.bootstrap_servers)
    return f"{error}; kafka.bootstrap_servers is {servers}; `sluicegate check` looks closer"


def _os_error(error: OSError) -> str:
    named = f"{error.filename}: " if error.filename else ""
    return f"{named}{error.strerror or str(error) or type(error).__name__}"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="sluicegate",
        description="Guardrails for chat on Kafka: safe completion, audited and published exactly once.",
        epilog="Settings come from --config FILE (TOML) and SLUICEGATE_<SECTION>__<KEY>; docs/settings.md lists them.",
    )
    parser.add_argument("--version", action="version", version=f"sluicegate {version_of('sluicegate')}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); also after the command")
    # No default: before the command or after it, what was given stands.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="settings file (TOML)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands, common)
    _add_run(commands, common)
    _add_send(commands, common)
    _add_tail(commands, common)
    _add_topics(commands, common)
    _add_check(commands, common)
    _add_schema(commands, common)
    commands.add_parser("settings", parents=[common], help="print every setting in force, secrets masked")
    return parser


def _add_demo(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    demo = commands.add_parser(
        "demo", parents=[common], help="run the whole path here, on real parts, with sample events"
    )
    demo.add_argument("--count", type=_count, default=300, metavar="N", help="sample conversations (default 300)")
    demo.add_argument("--seed", type=int, default=7, metavar="N", help="seed of the samples (default 7)")
    demo.add_argument(
        "--kill", action="store_true", help="kill -9 the ingress actor half way; the census must still hold"
    )
    demo.add_argument("--mock-broker", action="store_true", help="in-memory broker without real transactions")
    demo.add_argument("--keep", action="store_true", help="leave everything running at the end, until Ctrl-C")
    demo.add_argument("--plain", action="store_true", help="lines instead of a live table")


def _add_run(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    commands.add_parser("run", parents=[common], help="run the stream workers until SIGTERM or Ctrl-C, then drain")


def _add_send(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    send = commands.add_parser("send", parents=[common], help="send events, one JSON object a line")
    send.add_argument("file", metavar="FILE", help="a file, or - for standard input")
    send.add_argument("--raw", action="store_true", help="send lines as they are, also what is not a valid event")


def _add_tail(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    tail = commands.add_parser("tail", parents=[common], help="show audited responses as they are committed")
    tail.add_argument("--from-beginning", action="store_true", help="start at the oldest response")
    tail.add_argument("--count", type=_count, default=0, metavar="N", help="stop after N responses (default: never)")
    tail.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_topics(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    topics = commands.add_parser("topics", parents=[common], help="create and compare topics")
    verbs = topics.add_subparsers(dest="verb", required=True, metavar="VERB")
    create = verbs.add_parser("create", parents=[common], help="create what is missing, report what differs")
    create.add_argument("--alter", action="store_true", help="also change the settings of topics that differ")


def _add_check(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    check = commands.add_parser("check", parents=[common], help="say what is wrong with settings, broker and endpoints")
    check.add_argument("--timeout", type=_seconds, default=10.0, metavar="S", help="seconds per probe (default 10)")


def _add_schema(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    schema = commands.add_parser("schema", parents=[common], help="print a JSON Schema or the AsyncAPI document")
    schema.add_argument("name", nargs="?", default="", metavar="NAME", help="without one, the names are listed")
    schema.add_argument("--write", type=Path, metavar="DIR", help="write all of them into a directory")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= TIMEOUT_S_MAX:  # neither is NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, at most {TIMEOUT_S_MAX:g}")
    return seconds


def version_of(distribution: str) -> str:
    """The version of what is installed; `unknown` in a source tree that was not."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def _command(name: str) -> Command:
    return cast("Command", import_module(f"workers.commands.{name}").execute)


if __name__ == "__main__":
    sys.exit(main())
