"""`sluicegate drain`: make a node finish its events and end. For a pod's preStop hook, and for people."""

import argparse
import time

from workers.commands.console.terminal import Terminal
from workers.kafka.groups import leave_group
from workers.process.exit_codes import ExitCode
from workers.settings import Settings
from workers.supervision.node_client import AgentError, agent_url, ask_to_drain, node_status

LOOK_S = 0.5


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Ask for a drain; with `--wait` stay until the agent is gone, and return 1 if it still answers after that time.

    With `--leave`, the node's slots leave the group once it has ended. Raises AgentError, KafkaUnavailable and
    KafkaRefused.
    """
    terminal = Terminal()
    if arguments.leave and not arguments.wait:
        Terminal("stderr").say("sluicegate drain: --leave needs --wait: only a node that has ended may leave", "red")
        return ExitCode.WRONG_USE
    url = agent_url(settings, arguments.url)
    slots = _slots(url) if arguments.leave else ()
    ask_to_drain(url, settings.agent.token.reveal())
    terminal.say(f"draining {url}")
    if not arguments.wait:
        return ExitCode.DONE
    if not _has_ended(url, arguments.wait):
        terminal.say(f"{url} still answers after {arguments.wait:g} s", "red")
        return ExitCode.FAILED
    terminal.say("drained", "green")
    if arguments.leave:
        left = ", ".join(map(str, leave_group(settings.kafka, slots))) or "none, no member was there"
        terminal.say(f"slots that left group {settings.kafka.group_id}: {left}")
    return ExitCode.DONE


def _slots(url: str) -> tuple[int, ...]:
    """Return the slots whose workers the node runs; each is the number in its actor's name."""
    actors = node_status(url).actors
    return tuple(int(actor.name.rpartition("-")[2]) for actor in actors if actor.role == "ingress")


def _has_ended(url: str, wait_s: float) -> bool:
    until_s = time.monotonic() + wait_s
    while time.monotonic() < until_s:
        time.sleep(LOOK_S)
        try:
            node_status(url)
        except AgentError:
            return True
    return False
