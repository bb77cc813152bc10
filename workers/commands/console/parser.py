"""The parser of the command line."""

import argparse
from importlib import metadata
from pathlib import Path

from workers.commands.console.argument_types import count, seconds
from workers.commands.console.grant_parser import add_grant
from workers.commands.console.guard_parser import add_guard
from workers.commands.console.policy_parser import add_policy
from workers.commands.console.recovery_parser import add_dlq, add_replay
from workers.commands.console.subcommands import Subcommands


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="sluicegate",
        description="Guardrails for chat on Kafka: safe completion, audited and published exactly once.",
        epilog="Settings come from --config FILE (TOML) and SLUICEGATE_<SECTION>__<KEY>; docs/settings.md lists them.",
    )
    parser.add_argument("--version", action="version", version=f"sluicegate {version_of('sluicegate')}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); also after the command")
    # Without a default, the command's --config does not overwrite one that stands before the command.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="settings file (TOML)")
    commands = Subcommands(parser, "command", common)
    _add_demo(commands)
    _add_run(commands)
    _add_status(commands)
    _add_canary(commands)
    _add_send(commands)
    _add_tail(commands)
    add_dlq(commands)
    add_replay(commands)
    _add_topics(commands)
    add_policy(commands)
    add_grant(commands)
    add_guard(commands)
    _add_check(commands)
    _add_schema(commands)
    commands.add("settings", "settings", "print every setting in force, secrets masked")
    return parser


def _add_demo(commands: Subcommands) -> None:
    demo = commands.add("demo", "demo.demo", "run the whole path on this machine, on real parts, with sample events")
    demo.add_argument(
        "--count", type=count, default=100, metavar="N", help="sample conversations besides the examples (default 100)"
    )
    demo.add_argument(
        "--model",
        choices=("scripted", "small", "both", "tiny", "scripted-tiny"),
        default="scripted",
        help="model that answers: a script (default); vLLM with SmolLM2-135M-Instruct; both in turn; or vLLM with "
        "random weights, which write noise, alone or after the script",
    )
    demo.add_argument("--seed", type=int, default=7, metavar="N", help="seed of the samples (default 7)")
    demo.add_argument(
        "--kill", action="store_true", help="kill -9 the ingress actor half way; the census must still hold"
    )
    demo.add_argument("--mock-broker", action="store_true", help="use an in-memory broker without real transactions")
    demo.add_argument("--keep", action="store_true", help="keep everything running at the end, until Ctrl-C")
    demo.add_argument("--plain", action="store_true", help="print lines instead of a live table")


def _add_run(commands: Subcommands) -> None:
    commands.add("run", "run", "run the stream workers until SIGTERM or Ctrl-C, then drain")


def _add_status(commands: Subcommands) -> None:
    status = commands.add("status", "status", "show what a node's workers are doing")
    status.add_argument("--watch", action="store_true", help="repeat every two seconds, until Ctrl-C")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    drain = commands.add("drain", "drain", "make a node finish its events and end")
    drain.add_argument(
        "--wait", type=seconds, default=0.0, metavar="S", help="wait until it has ended, at most S seconds"
    )
    drain.add_argument(
        "--leave", action="store_true", help="then leave the group: for a node that does not come back; needs --wait"
    )
    for each in (status, drain):
        each.add_argument("--url", default="", metavar="URL", help="its agent (default: the one in the settings)")


def _add_canary(commands: Subcommands) -> None:
    canary = commands.add("canary", "canary", "send signed probes through the live path, and check the answers")
    canary.add_argument("--key-file", type=Path, required=True, metavar="FILE", help="private key (Ed25519, PEM)")
    canary.add_argument(
        "--case", action="append", choices=("allowed", "blocked"), help="only this probe (default: all)"
    )
    canary.add_argument(
        "--wait", type=seconds, default=60.0, metavar="S", help="seconds to wait for answers (default 60)"
    )
    canary.add_argument("--json", action="store_true", help="print one JSON object per line")


def _add_send(commands: Subcommands) -> None:
    send = commands.add("send", "send", "send events to the input topic, one JSON object per line")
    send.add_argument("file", metavar="FILE", help="a file, or - for standard input")
    send.add_argument("--raw", action="store_true", help="send lines unchanged, even if they are not valid events")


def _add_tail(commands: Subcommands) -> None:
    tail = commands.add("tail", "tail", "show audited responses as they are committed")
    tail.add_argument("--audit", action="store_true", help="show audit records instead, one JSON object per line")
    start = tail.add_mutually_exclusive_group()
    start.add_argument("--from-beginning", action="store_true", help="start at the oldest record")
    start.add_argument("--all", action="store_true", help="show everything up to now, then stop")
    tail.add_argument("--count", type=count, default=0, metavar="N", help="stop after N records (default: never)")
    tail.add_argument("--json", action="store_true", help="print one JSON object per line")


def _add_topics(commands: Subcommands) -> None:
    verbs = commands.group("topics", "create and compare topics")
    create = verbs.add("create", "topics", "create missing topics, and report those that differ")
    create.add_argument("--alter", action="store_true", help="also change the configuration of topics that differ")


def _add_check(commands: Subcommands) -> None:
    check = commands.add(
        "check", "check.check", "check settings, policy, brokers and endpoints, and say how to fix what is wrong"
    )
    check.add_argument("--timeout", type=seconds, default=10.0, metavar="S", help="seconds per check (default 10)")
    check.add_argument(
        "--offline", action="store_true", help="check only the settings, the files they name, and the policy"
    )


def _add_schema(commands: Subcommands) -> None:
    schema = commands.add("schema", "schema", "print a JSON Schema or the AsyncAPI document")
    schema.add_argument("name", nargs="?", default="", metavar="NAME", help="the document (default: list the names)")
    schema.add_argument("--write", type=Path, metavar="DIR", help="write all documents into a directory")


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution; `unknown` if it is not installed, as in a bare checkout."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"
