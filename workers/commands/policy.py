"""`sluicegate policy VERB`: hands over to the module of the verb."""

import argparse
from importlib import import_module

from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run one verb; its exit status."""
    return import_module(f"workers.commands.policy_{arguments.verb}").execute(arguments, settings)
