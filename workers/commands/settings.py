"""`sluicegate settings`: everything in force, secrets masked."""

import argparse

from workers.settings import Settings, show


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the settings as TOML."""
    del arguments
    print(show(settings))
    return 0
