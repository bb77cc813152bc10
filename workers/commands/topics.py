"""`sluicegate topics create`: create every topic of the table as the settings say."""

import argparse

from workers.commands.console.terminal import Terminal
from workers.kafka.topics import create_topics, topic_table
from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Create missing topics; 1 if a topic differs so that a worker must not run on it."""
    terminal = Terminal()
    report = create_topics(settings.kafka, settings.topics, terminal.say, alter=arguments.alter)
    differing = {difference.topic for difference in report.differences}
    counts = f"created {len(report.created)}, altered {len(report.altered)}, differing {len(differing)}"
    terminal.say(f"topics: {len(topic_table(settings.topics))}; {counts}", "green" if report.is_fit else "red")
    if any(difference.setting in _settable(settings) for difference in report.differences):
        terminal.say("`sluicegate topics create --alter` sets configurations; it never changes partitions")
    return 0 if report.is_fit else 1


def _settable(settings: Settings) -> set[str]:
    return {setting for spec in topic_table(settings.topics) for setting in spec.configs()}
