"""The options of `sluicegate dlq` and `sluicegate replay`."""

import argparse
from pathlib import Path

from topology.contract.errors import DeadLetterReason
from workers.commands.console.argument_types import count, rate
from workers.commands.console.subcommands import Subcommands


def add_dlq(commands: Subcommands) -> None:
    """Add the group of commands for dead letters."""
    verbs = commands.group("dlq", "look at dead letters, and put them back on the input")
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
    listing = verbs.add("list", "recovery.dlq:list_letters", "a table without any text of users, and totals", chosen)
    listing.add_argument("--limit", type=count, default=50, metavar="N", help="show the newest N (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object: letters, total, by_reason")
    show = verbs.add("show", "recovery.dlq:show", "everything about one letter but its key and value")
    show.add_argument("position", metavar="PARTITION:OFFSET", help="where in the dead-letter topic it stands")
    show.add_argument(
        "--value", action="store_true", help="also give the original bytes, alone on standard output: this is user text"
    )
    show.add_argument(
        "--output", type=Path, metavar="FILE", help="with --value: into a new file that only you can read"
    )
    _add_redrive(verbs, chosen)


def _add_redrive(verbs: Subcommands, chosen: argparse.ArgumentParser) -> None:
    redrive = verbs.add(
        "redrive", "recovery.dlq_redrive", "put letters back, each once; without --yes say what would be", chosen
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


def add_replay(commands: Subcommands) -> None:
    """Add the command that reads a range of the input again."""
    replay = commands.add(
        "replay", "recovery.replay", "copy a range of the input onto another topic, or have a group read it again"
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
