"""`sluicegate status`: show what a node's workers are doing, once or live."""

import argparse
import time
from collections.abc import Mapping

import msgspec
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from workers.commands.console.terminal import Terminal
from workers.settings import Settings
from workers.supervision.node_client import agent_url, node_status
from workers.supervision.node_state import ActorStatus, NodeStatus
from workers.telemetry.model_health import ModelState

EVERY_S = 2.0


def execute(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show the node; 1 if something is wrong with it. With `--watch` repeat until Ctrl-C."""
    url = agent_url(settings, arguments.url)
    status = node_status(url)
    terminal = Terminal()
    if arguments.json:
        terminal.say(msgspec.json.encode(status).decode())
    elif not arguments.watch:
        terminal.print(shown(status, None, 0))
    else:
        _watch(url, status, terminal)
    return 0 if status.is_well else 1


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
        *_numbers(status, before, elapsed_s),
        _actors(status.actors),
        *_models(status.actors),
        *_counted("guard", status.totals.guards, _GUARD_WORDS),
        *_counted("budget", status.totals.budgets, _BUDGET_WORDS),
        *_policies(status.actors),
        *(Text(fault, "yellow") for fault in status.faults),
        *(Text(trouble, "red") for trouble in status.troubles),
    )


def _headline(status: NodeStatus) -> Text:
    text = Text(f"sluicegate {status.version}  ")
    text.append("live  " if status.live else "not live  ", "green" if status.live else "bold red")
    text.append("ready" if status.ready else "not ready", "green" if status.ready else "yellow")
    if status.draining:
        text.append("  draining", "yellow")
    return text


def _numbers(status: NodeStatus, before: NodeStatus | None, elapsed_s: float) -> list[Text]:
    """Return two lines, each of which fits a terminal of 80 columns."""
    now = status.totals
    flow = [f"in {now.consumed:,.0f}", f"answered {now.published:,.0f}", f"in work {now.in_work:,.0f}"]
    if before is not None and elapsed_s > 0:
        flow.append(f"{(now.published - before.totals.published) / elapsed_s:,.1f} answers/s")
    lag = f"lag {now.lag:,.0f} records, oldest {now.lag_s:,.1f} s"
    ends = [lag, f"dead letters {now.dead_letters:,.0f}", f"withheld {now.withheld:,.0f}"]
    return [Text("   ".join(flow)), Text("   ".join(ends))]


def _actors(actors: tuple[ActorStatus, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("actor", "state", "pid", "restarts", "loop", "in work", "committed", "last poll"):
        table.add_column(name, justify="right" if name in {"pid", "restarts", "in work", "committed"} else "left")
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


_GUARD_WORDS = {"timeout": "late"}
_BUDGET_WORDS = {"shadow_limited": "over it, but only counted", "limited": "refused"}


def _counted(noun: str, counts: Mapping[str, Mapping[str, float]], words: Mapping[str, str]) -> list[Text]:
    """Return a line for each guard or budget with its counts since the start, in words."""
    lines: list[Text] = []
    for name in sorted(counts):
        found = ", ".join(f"{words.get(each, each)} {count:,.0f}" for each, count in sorted(counts[name].items()))
        lines.append(Text(f"{noun} {name}: {found}"))
    return lines


def _models(actors: tuple[ActorStatus, ...]) -> list[Text]:
    """Return a line for each model of each worker: whether it answers, since when, and how many requests failed."""
    lines: list[Text] = []
    for actor in actors:
        for model in () if actor.loop is None else actor.loop.models:
            since = "" if model.state is ModelState.UNASKED else f" for {_time(model.for_s)}"
            rest = f", rests for {model.rest_left_s:.0f} s more" if model.rest_left_s else ""
            why = f" ({model.reason})" if model.reason and not model.is_well else ""
            failed = f", {model.failed_count} requests failed" if model.failed_count else ""
            named = f"model {model.model} ({model.role}) of {actor.name}: {model.state.value}"
            lines.append(Text(named + since + rest + why + failed, "" if model.is_well else "red"))
    return lines


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


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
