"""`sluicegate topics create`: every topic of the table, as settings say."""

import argparse

from rich.console import Console

from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Create what is missing; 1 where a topic differs in a way that matters."""
    from workers.topics import create_topics

    console = Console()
    report = create_topics(settings.kafka, settings.topics, console.print, alter=arguments.alter)
    return 0 if report.is_fit else 1
