"""The command line: parses, loads settings, and hands over to one module of `workers.commands` per command."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import cast

from topology.contract.errors import DeadLetterReason, PolicyError, SettingsError, SluicegateError
from workers.commands.console.argument_types import count, rate, seconds
from workers.commands.console.policy_parser import Subparsers, add_policy
from workers.settings import InvalidSettings, Settings, load_settings
from workers.supervision.ray_session import prepare_ray

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""As a shell reports what SIGINT and SIGPIPE end."""

Command = Callable[[argparse.Namespace, Settings], int]

MODULES = {
    "check": "workers.commands.check.check",
    "demo": "workers.commands.demo.demo",
    "dlq": "workers.commands.recovery.dlq",
    "policy": "workers.commands.policy.verbs",
    "replay": "workers.commands.recovery.replay",
}
"""Commands that have a folder; every other one is a module of `workers.commands`."""


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
    from workers.kafka.errors import KafkaUnavailable  # loads the client library, which was loaded to raise it

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
    _add_status(commands, common)
    _add_canary(commands, common)
    _add_send(commands, common)
    _add_tail(commands, common)
    _add_dlq(commands, common)
    _add_replay(commands, common)
    _add_topics(commands, common)
    add_policy(commands, common)
    _add_check(commands, common)
    _add_schema(commands, common)
    commands.add_parser("settings", parents=[common], help="print every setting in force, secrets masked")
    return parser


def _add_demo(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    demo = commands.add_parser(
        "demo", parents=[common], help="run the whole path here, on real parts, with sample events"
    )
    demo.add_argument("--count", type=count, default=300, metavar="N", help="sample conversations (default 300)")
    demo.add_argument(
        "--model",
        choices=("both", "tiny", "scripted"),
        default="both",
        help="who answers: vLLM with a tiny checkpoint, which writes noise; a script; or both in turn (default)",
    )
    demo.add_argument("--seed", type=int, default=7, metavar="N", help="seed of the samples (default 7)")
    demo.add_argument(
        "--kill", action="store_true", help="kill -9 the ingress actor half way; the census must still hold"
    )
    demo.add_argument("--mock-broker", action="store_true", help="in-memory broker without real transactions")
    demo.add_argument("--keep", action="store_true", help="leave everything running at the end, until Ctrl-C")
    demo.add_argument("--plain", action="store_true", help="lines instead of a live table")


def _add_run(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    commands.add_parser("run", parents=[common], help="run the stream workers until SIGTERM or Ctrl-C, then drain")


def _add_status(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    status = commands.add_parser("status", parents=[common], help="show what a node's workers are doing")
    status.add_argument("--watch", action="store_true", help="again every two seconds, until Ctrl-C")
    status.add_argument("--json", action="store_true", help="one JSON object")
    drain = commands.add_parser("drain", parents=[common], help="have a node finish what it holds, and end")
    drain.add_argument(
        "--wait", type=seconds, default=0.0, metavar="S", help="stay until it has ended, at most S seconds"
    )
    for each in (status, drain):
        each.add_argument("--url", default="", metavar="URL", help="its agent (default: this machine's, by settings)")


def _add_canary(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    canary = commands.add_parser("canary", parents=[common], help="send signed probes down the live path")
    canary.add_argument("--key-file", type=Path, required=True, metavar="FILE", help="private key (Ed25519, PEM)")
    canary.add_argument("--case", action="append", choices=("allowed", "blocked"), help="this one (default: all)")
    canary.add_argument("--wait", type=seconds, default=60.0, metavar="S", help="seconds until given up (default 60)")
    canary.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_send(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    send = commands.add_parser("send", parents=[common], help="send events, one JSON object a line")
    send.add_argument("file", metavar="FILE", help="a file, or - for standard input")
    send.add_argument("--raw", action="store_true", help="send lines as they are, also what is not a valid event")


def _add_tail(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    tail = commands.add_parser("tail", parents=[common], help="show audited responses as they are committed")
    tail.add_argument("--audit", action="store_true", help="audit records instead, one JSON object a line")
    start = tail.add_mutually_exclusive_group()
    start.add_argument("--from-beginning", action="store_true", help="start at the oldest")
    start.add_argument("--all", action="store_true", help="everything up to now, then stop")
    tail.add_argument("--count", type=count, default=0, metavar="N", help="stop after N of them (default: never)")
    tail.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_dlq(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    dlq = commands.add_parser("dlq", parents=[common], help="look at dead letters, and put them back on the input")
    verbs = dlq.add_subparsers(dest="verb", required=True, metavar="VERB")
    chosen = argparse.ArgumentParser(add_help=False)
    reasons = [*(reason.value for reason in DeadLetterReason), "poison"]
    chosen.add_argument(
        "--reason",
        action="append",
        choices=list(dict.fromkeys(reasons)),
        help="this reason; may be given several times",
    )
    ago = "ISO 8601, UTC where it names no zone, or a duration ago: 90s, 30m, 2h, 7d, 1w"
    chosen.add_argument("--since", metavar="TIME", help=f"dead-lettered then or later ({ago})")
    chosen.add_argument("--until", metavar="TIME", help="dead-lettered before then")
    listing = verbs.add_parser("list", parents=[common, chosen], help="a table without any text of users, and totals")
    listing.add_argument("--limit", type=count, default=50, metavar="N", help="show the newest N (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object: letters, total, by_reason")
    show = verbs.add_parser("show", parents=[common], help="everything about one letter but its key and value")
    show.add_argument("position", metavar="PARTITION:OFFSET", help="where in the dead-letter topic it stands")
    show.add_argument(
        "--value", action="store_true", help="also give the original bytes, alone on standard output: this is user text"
    )
    show.add_argument(
        "--output", type=Path, metavar="FILE", help="with --value: into a new file that only you can read"
    )
    _add_redrive(verbs, common, chosen)


def _add_redrive(verbs: Subparsers, common: argparse.ArgumentParser, chosen: argparse.ArgumentParser) -> None:
    redrive = verbs.add_parser(
        "redrive", parents=[common, chosen], help="put letters back, each once; without --yes say what would be"
    )
    redrive.add_argument("positions", nargs="*", metavar="PARTITION:OFFSET", help="these letters (default: all)")
    redrive.add_argument("--to", default="", metavar="TOPIC", help="onto this topic (default: the input)")
    redrive.add_argument("--limit", type=count, default=0, metavar="N", help="at most N letters (default: no limit)")
    redrive.add_argument("--yes", action="store_true", help="write; without it nothing is written")
    redrive.add_argument("--again", action="store_true", help="also letters that were put back before")
    redrive.add_argument("--include-poison", action="store_true", help="also what workers crashed on, again and again")
    redrive.add_argument(
        "--answered-too", action="store_true", help="also events answered `withheld`: each gets a second answer"
    )
    redrive.add_argument("--rate", type=rate, metavar="N", help="at most N letters a second (default: no limit)")


def _add_replay(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    replay = commands.add_parser(
        "replay", parents=[common], help="copy a range of the input onto another topic, or have a group read it again"
    )
    forms = "ISO 8601, a duration ago such as 2h, or PARTITION:OFFSET,…"
    replay.add_argument("--from", dest="start", required=True, metavar="WHEN", help=f"the first record: {forms}")
    replay.add_argument("--to", metavar="WHEN", help="where to stop, itself left out (default: the end as it is now)")
    replay.add_argument("--partitions", metavar="N,…", help="only these partitions")
    where = replay.add_mutually_exclusive_group(required=True)
    where.add_argument("--into", metavar="TOPIC", help="copy onto this topic, which must exist")
    where.add_argument("--group", metavar="GROUP", help="set the offsets of this consumer group, which nobody is in")
    replay.add_argument("--into-input", action="store_true", help="allow --into the input: events are answered twice")
    replay.add_argument("--force", action="store_true", help="allow --group the workers' own")
    replay.add_argument(
        "--again", action="store_true", help="although the same range was replayed, or another is unfinished"
    )
    replay.add_argument("--rate", type=rate, metavar="N", help="at most N records a second (default: no limit)")
    replay.add_argument("--dry-run", action="store_true", help="say what would be replayed, and write nothing")


def _add_topics(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    topics = commands.add_parser("topics", parents=[common], help="create and compare topics")
    verbs = topics.add_subparsers(dest="verb", required=True, metavar="VERB")
    create = verbs.add_parser("create", parents=[common], help="create what is missing, report what differs")
    create.add_argument("--alter", action="store_true", help="also change the settings of topics that differ")


def _add_check(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    check = commands.add_parser("check", parents=[common], help="say what is wrong with settings, broker and endpoints")
    check.add_argument("--timeout", type=seconds, default=10.0, metavar="S", help="seconds per probe (default 10)")
    check.add_argument("--offline", action="store_true", help="only settings, the files they name, and the policy")


def _add_schema(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    schema = commands.add_parser("schema", parents=[common], help="print a JSON Schema or the AsyncAPI document")
    schema.add_argument("name", nargs="?", default="", metavar="NAME", help="without one, the names are listed")
    schema.add_argument("--write", type=Path, metavar="DIR", help="write all of them into a directory")


def version_of(distribution: str) -> str:
    """The version of what is installed; `unknown` in a source tree that was not."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def _command(name: str) -> Command:
    return cast("Command", import_module(MODULES.get(name, f"workers.commands.{name}")).execute)


if __name__ == "__main__":
    sys.exit(main())
