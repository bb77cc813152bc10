"""`sluicegate drain`: make a node finish its events and end. For a pod's preStop hook, and for people."""

import argparse
import time

from workers.commands.console.terminal import Terminal
from workers.settings import Settings
from workers.supervision.node_client import AgentError, agent_url, ask_to_drain, node_status

LOOK_S = 0.5


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Ask for a drain, and with `--wait` wait until the agent is gone; 1 if it still answers after that time."""
    url = agent_url(settings, arguments.url)
    ask_to_drain(url, settings.agent.token.reveal())
    terminal = Terminal()
    terminal.say(f"draining {url}")
    until_s = time.monotonic() + arguments.wait
    while time.monotonic() < until_s:
        time.sleep(LOOK_S)
        try:
            node_status(url)
        except AgentError:
            terminal.say("drained", "green")
            return 0
    if arguments.wait:
        terminal.say(f"{url} still answers after {arguments.wait:g} s", "red")
        return 1
    return 0
