"""The options of `sluicegate guard`."""

import argparse
from pathlib import Path

from workers.commands.console.subcommands import Subcommands

KINDS = ("requests", "replies", "documents", "conversations")


def add_guard(commands: Subcommands) -> None:
    """Add the commands for measuring guards."""
    verbs = commands.group("guard", "measure the guards on labelled rows, and calibrate the encoder")
    evaluate = verbs.add("evaluate", "guard.evaluate", "measure the guards of the settings, per language")
    _add_rows(evaluate)
    evaluate.add_argument(
        "--noisy", type=int, metavar="SEED", help="also measure a carelessly written copy of requests"
    )
    evaluate.add_argument("--prefixes", action="store_true", help="also judge replies that end after a sentence")
    evaluate.add_argument("--json", type=Path, metavar="OUT", help="also write all figures to this file")
    compare = verbs.add("compare", "guard.compare", "measure the guards of several settings, side by side")
    _add_rows(compare)
    compare.add_argument(
        "--against",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="settings of other guards (TOML); may be given several times",
    )
    calibrate = verbs.add("calibrate", "guard.calibrate", "choose an encoder's temperatures and thresholds")
    _add_rows(calibrate)
    calibrate.add_argument(
        "--encoder", type=Path, metavar="DIR", help="the encoder's folder (default: guard.encoder_path)"
    )
    calibrate.add_argument("--dry-run", action="store_true", help="print what was found, and write nothing")


def _add_rows(parser: argparse.ArgumentParser) -> None:
    for kind in KINDS:
        parser.add_argument(
            f"--{kind}",
            type=Path,
            action="append",
            metavar="FILE",
            help=f"labelled {kind} (JSON lines, or a folder of them); may be given several times",
        )
    parser.add_argument("--authors", metavar="NAMES", help="only rows by these authors, separated by commas")
