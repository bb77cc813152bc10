"""`sluicegate policy VERB`: hands over to the module of the verb."""

import argparse
from importlib import import_module

from workers.commands.console.terminal import Terminal
from workers.commands.console.usage_error import WrongUse
from workers.settings import Settings

EXIT_USAGE = 2


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run one verb; its exit status, 2 for wrong use."""
    try:
        return import_module(f"workers.commands.policy.{arguments.verb}").execute(arguments, settings)
    except WrongUse as exc:
        Terminal("stderr").say(f"sluicegate policy {arguments.verb}: {exc}", "red")
        return EXIT_USAGE
