"""`sluicegate settings`: print the settings in force, with secrets masked."""

import argparse

from workers.settings import Settings, show


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the settings as TOML."""
    del arguments
    print(show(settings))
    return 0
