"""The options of `sluicegate dlq` and `sluicegate replay`."""

import argparse
from pathlib import Path

from topology.contract.errors import DeadLetterReason
from workers.commands.console.argument_types import count, rate
from workers.commands.console.subcommands import Subcommands


def add_dlq(commands: Subcommands) -> None:
    """Add the group of commands for dead letters."""
    verbs = commands.group("dlq", "list dead letters, and put them back on the input")
    chosen = argparse.ArgumentParser(add_help=False)
    reasons = [*(reason.value for reason in DeadLetterReason), "poison"]
    chosen.add_argument(
        "--reason",
        action="append",
        choices=list(dict.fromkeys(reasons)),
        help="only this reason; may be given several times",
    )
    ago = "ISO 8601, UTC unless it names a zone, or a duration ago: 90s, 30m, 2h, 7d, 1w"
    chosen.add_argument("--since", metavar="TIME", help=f"only letters written at this time or later ({ago})")
    chosen.add_argument("--until", metavar="TIME", help="only letters written before this time")
    listing = verbs.add(
        "list", "recovery.dlq:list_letters", "show letters as a table without any user text, and totals", chosen
    )
    listing.add_argument("--limit", type=count, default=50, metavar="N", help="show only the newest N (default 50)")
    listing.add_argument("--json", action="store_true", help="print one JSON object: letters, total, by_reason")
    show = verbs.add("show", "recovery.dlq:show", "show everything about one letter except its key and value")
    show.add_argument("position", metavar="PARTITION:OFFSET", help="position of the letter in the dead-letter topic")
    show.add_argument(
        "--value",
        action="store_true",
        help="also print the original bytes, alone on standard output: this is user text",
    )
    show.add_argument(
        "--output", type=Path, metavar="FILE", help="with --value: write them to a new file that only you can read"
    )
    _add_redrive(verbs, chosen)


def _add_redrive(verbs: Subcommands, chosen: argparse.ArgumentParser) -> None:
    redrive = verbs.add(
        "redrive", "recovery.dlq_redrive", "put letters back, each once; without --yes only print the plan", chosen
    )
    redrive.add_argument("positions", nargs="*", metavar="PARTITION:OFFSET", help="only these letters (default: all)")
    redrive.add_argument("--to", default="", metavar="TOPIC", help="put them on this topic (default: the input)")
    redrive.add_argument("--limit", type=count, default=0, metavar="N", help="at most N letters (default: no limit)")
    redrive.add_argument("--yes", action="store_true", help="write the letters; without it nothing is written")
    redrive.add_argument("--again", action="store_true", help="include letters that were put back before")
    redrive.add_argument(
        "--include-poison", action="store_true", help="include records on which workers crashed repeatedly"
    )
    redrive.add_argument(
        "--answered-too", action="store_true", help="include events answered `withheld`: each gets a second answer"
    )
    redrive.add_argument("--rate", type=rate, metavar="N", help="at most N letters per second (default: no limit)")


def add_replay(commands: Subcommands) -> None:
    """Add the command that replays a range of the input."""
    replay = commands.add(
        "replay", "recovery.replay", "copy a range of the input to another topic, or make a group read it again"
    )
    forms = "ISO 8601, a duration ago such as 2h, or PARTITION:OFFSET,…"
    replay.add_argument("--from", dest="start", required=True, metavar="WHEN", help=f"the first record: {forms}")
    replay.add_argument("--to", metavar="WHEN", help="the first record to leave out (default: stop at the present end)")
    replay.add_argument("--partitions", metavar="N,…", help="only these partitions")
    where = replay.add_mutually_exclusive_group(required=True)
    where.add_argument("--into", metavar="TOPIC", help="copy to this topic, which must exist, or see --create")
    where.add_argument(
        "--group", metavar="GROUP", help="set the offsets of this consumer group, which must have no members"
    )
    replay.add_argument(
        "--into-input", action="store_true", help="allow --into the input topic: events are answered twice"
    )
    replay.add_argument("--create", action="store_true", help="make the topic of --into, as the input is")
    replay.add_argument("--force", action="store_true", help="allow --group for the workers' own group")
    replay.add_argument(
        "--again", action="store_true", help="replay even if the same range was replayed, or another is unfinished"
    )
    replay.add_argument("--rate", type=rate, metavar="N", help="at most N records per second (default: no limit)")
    replay.add_argument("--dry-run", action="store_true", help="print the plan, and write nothing")
