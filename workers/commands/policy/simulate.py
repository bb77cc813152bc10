"""`sluicegate policy simulate`: which recorded decisions another policy would change."""

import argparse
import sys

import msgspec

from workers.commands.console.progress import Progress
from workers.commands.console.terminal import Terminal
from workers.commands.policy.files import policies_of
from workers.commands.policy.recorded import Unreadable, Window, recorded
from workers.commands.policy.simulation import Simulated, Simulation
from workers.commands.policy.simulation_picture import draw, require_drawing
from workers.commands.policy.simulation_text import say_simulated
from workers.commands.recovery.selecting import period_of
from workers.settings import Settings


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Count and show. 1 where there was nothing to count, or something could not be read. Raises WrongUse."""
    source = arguments.from_audit or settings.topics.audit
    if arguments.picture is not None:
        require_drawing(arguments.picture)
    since_ms, until_ms = period_of(arguments)
    window = Window(since_ms=since_ms, until_ms=until_ms)
    policies = policies_of(settings, "--policy", arguments.policy, arguments.overlays)
    simulation, unreadable = Simulation(policies.bundle, policies.overlays), Unreadable()
    errors = Terminal("stderr")
    progress = Progress(errors.say, "decisions read")
    with recorded(source, settings, window, unreadable, count_max=arguments.limit) as records:
        for record in records:
            simulation.add(record)
            progress.at(simulation.count)
    unreadable.say(errors)
    found = simulation.result()
    _show(arguments, found)
    if not found.decisions:
        errors.say(f"sluicegate policy simulate: no decisions in {source}", "red")
    return 1 if unreadable.count or not found.decisions else 0


def _show(arguments: argparse.Namespace, found: Simulated) -> None:
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        say_simulated(Terminal(), found)
    if arguments.picture is not None:
        draw(found, arguments.picture)
        Terminal("stderr").say(f"picture: {arguments.picture}")
