"""`sluicegate guard compare`: the same rows through the guards of several settings, side by side."""

import argparse
import asyncio
import os
import sys

from serving.evaluation.evaluation import side_by_side
from workers.commands.guard.assembling import rows_given
from workers.commands.guard.evaluate import evaluated
from workers.settings import Settings, load_settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Measure the settings and each of `--against`, and print one table. Raises WrongUse, InvalidSettings."""
    rows = rows_given(arguments)
    others = [(path.stem, load_settings(path, os.environ)) for path in arguments.against]
    named = [("these settings", settings), *others]
    reports = [(name, asyncio.run(evaluated(each, rows, None))) for name, each in named]
    languages = sorted({row.lang for row in rows})
    sys.stdout.write("\n".join(side_by_side(reports, ("all", *languages))) + "\n")
    return 0
