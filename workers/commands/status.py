"""`sluicegate status`: show what a node's workers are doing, once or live."""

import argparse
import time

import msgspec
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from workers.commands.console.terminal import Terminal
from workers.settings import Settings
from workers.supervision.node_client import agent_url, node_status
from workers.supervision.node_state import ActorStatus, NodeStatus

EVERY_S = 2.0


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show the node; 1 if it is not live or not ready. With `--watch` repeat until Ctrl-C."""
    url = agent_url(settings, arguments.url)
    status = node_status(url)
    terminal = Terminal()
    if arguments.json:
        terminal.say(msgspec.json.encode(status).decode())
    elif not arguments.watch:
        terminal.print(shown(status, None, 0))
    else:
        _watch(url, status, terminal)
    return 0 if status.live and status.ready else 1


def _watch(url: str, before: NodeStatus, terminal: Terminal) -> None:
    taken_s = time.monotonic()
    with Live(shown(before, None, 0), console=terminal, auto_refresh=False) as live:
        while True:  # ended by Ctrl-C, or by the error of an agent that is gone
            time.sleep(EVERY_S)
            status, now_s = node_status(url), time.monotonic()
            live.update(shown(status, before, now_s - taken_s), refresh=True)
            before, taken_s = status, now_s


def shown(status: NodeStatus, before: NodeStatus | None, elapsed_s: float) -> Group:
    """Return the status for people; rates need the status `before`, taken `elapsed_s` earlier."""
    return Group(
        _headline(status),
        _numbers(status, before, elapsed_s),
        _actors(status.actors),
        *_policies(status.actors),
        *(Text(fault, "yellow") for fault in status.faults),
    )


def _headline(status: NodeStatus) -> Text:
    text = Text(f"sluicegate {status.version}  ")
    text.append("live  " if status.live else "not live  ", "green" if status.live else "bold red")
    text.append("ready" if status.ready else "not ready", "green" if status.ready else "yellow")
    if status.draining:
        text.append("  draining", "yellow")
    return text


def _numbers(status: NodeStatus, before: NodeStatus | None, elapsed_s: float) -> Text:
    now = status.totals
    words = [
        f"in {now.consumed:,.0f}",
        f"answered {now.published:,.0f}",
        f"in flight {now.in_flight:,.0f}",
        f"lag {now.lag:,.0f} records, oldest {now.lag_s:,.1f} s",
        f"dead letters {now.dead_letters:,.0f}",
        f"held by guards {now.held_by_guards:,.0f}",
    ]
    if before is not None and elapsed_s > 0:
        words.append(f"{(now.published - before.totals.published) / elapsed_s:,.1f} answers/s")
    return Text("   ".join(words))


def _actors(actors: tuple[ActorStatus, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("actor", "state", "pid", "restarts", "loop", "held", "committed", "last poll"):
        table.add_column(name, justify="right" if name in {"pid", "restarts", "held", "committed"} else "left")
    for actor in actors:
        table.add_row(*_row(actor), style="" if actor.is_healthy else "yellow")
    return table


def _row(actor: ActorStatus) -> tuple[str, ...]:
    loop = actor.loop
    pid = "" if actor.pid is None else str(actor.pid)
    if loop is None:
        return actor.name, actor.state, pid, str(actor.restart_count), "", "", "", ""
    doing = loop.state.value + (", paused" if loop.paused else "") + ("" if loop.assigned else ", not in its group")
    if loop.stopped_count:
        doing += f", {loop.stopped_count} partitions stopped"
    polled = f"{loop.poll_age_s:.1f} s ago"
    return (
        actor.name,
        actor.state,
        pid,
        str(actor.restart_count),
        doing,
        str(loop.held_count),
        str(loop.committed_count),
        polled,
    )


def _policies(actors: tuple[ActorStatus, ...]) -> list[Text]:
    """Return which actors are under which policy; more than one policy for a long time is skew."""
    lines: list[Text] = []
    held = [(actor.name, actor.loop.policy) for actor in actors if actor.loop is not None and actor.loop.policy]
    for ref in sorted({policy.ref for _, policy in held}):
        names = ", ".join(name for name, policy in held if policy.ref == ref)
        lines.append(Text(f"policy {ref}: {names}"))
    for name, policy in held:
        if policy.refused_count:
            lines.append(
                Text(f"{name} refuses offered policies, for {policy.refused_count} reasons: see its log", "red")
            )
    return lines
