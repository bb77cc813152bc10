"""`sluicegate check`: say what is wrong with settings, brokers, models and telemetry, and how to fix it."""

import argparse

from rich.text import Text

from workers.commands.check.brokers import probe_brokers
from workers.commands.check.collector import probe_collector
from workers.commands.check.configuration import probe_policy, probe_settings
from workers.commands.check.door import probe_door
from workers.commands.check.endpoints import probe_generator, probe_guard, probe_turn_marks
from workers.commands.check.probe import Line, Mark, Probe, RunningProbe
from workers.commands.console.terminal import Terminal
from workers.settings import Settings

OFFLINE_PROBES: tuple[tuple[str, Probe], ...] = (
    ("settings", probe_settings),
    ("policy", probe_policy),
    ("door", probe_door),
)
PROBES: tuple[tuple[str, Probe], ...] = (
    *OFFLINE_PROBES,
    ("brokers", probe_brokers),
    ("model", probe_generator),
    ("turn marks", probe_turn_marks),
    ("guard LLM", probe_guard),
    ("telemetry", probe_collector),
)

STYLES = {Mark.OK: "green", Mark.NOTE: "yellow", Mark.WRONG: "bold red", Mark.UNUSED: "dim"}
MARK_WIDTH = 8
WHAT_WIDTH = 11


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run all probes at once and print what each found, in the order above; 1 if anything is wrong."""
    terminal = Terminal()
    probes = OFFLINE_PROBES if arguments.offline else PROBES
    running = [RunningProbe(what, probe, settings, arguments.timeout) for what, probe in probes]
    wrong_count = 0
    for probe in running:
        for line in probe.lines():
            wrong_count += line.mark is Mark.WRONG
            terminal.say(_text(line))
            if line.mend:
                terminal.say(" " * (MARK_WIDTH + WHAT_WIDTH) + line.mend)
    terminal.say("all is well" if not wrong_count else f"wrong: {wrong_count}", "green" if not wrong_count else "red")
    return 1 if wrong_count else 0


def _text(line: Line) -> Text:
    text = Text(f"{line.mark.value:<{MARK_WIDTH}}", style=STYLES[line.mark])
    text.append(f"{line.what:<{WHAT_WIDTH}}", style="not dim default")
    return text.append(line.found, style="not dim default" if line.mark is not Mark.UNUSED else "")
