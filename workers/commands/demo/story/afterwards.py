"""What the demo leaves to be looked at, and the commands that work on it.

The files of a run: `audit.jsonl` and `responses.jsonl`; the tenants' overlays; `stricter-policy.yaml`, the packaged
policy with lower ceilings, to be tried with `policy simulate`; and `demo.toml`, settings that name the run's parts.
"""

import shutil
import sys
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

import msgspec

from topology.contract.events import AuditedResponse, AuditRecord
from topology.policy.loading import PACKAGED
from workers.settings import Settings

AUDIT, RESPONSES, POLICY, SETTINGS, OVERLAYS = (
    "audit.jsonl",
    "responses.jsonl",
    "stricter-policy.yaml",
    "demo.toml",
    "overlays",
)

NAME = "sluicegate"
"""The console script."""

STRICTER = (
    (
        "  advice:     [[4,4,3],[3,3,2],[2,2,1],[2,1,0],[1,1,0]]",
        "  advice:     [[4,4,3],[2,2,1],[1,1,0],[1,0,0],[0,0,0]]",
    ),
    (
        "  procedural: [[4,4,2],[4,3,1],[3,2,0],[2,1,0],[1,1,0]]",
        "  procedural: [[4,4,2],[3,2,0],[2,1,0],[1,0,0],[0,0,0]]",
    ),
    ('  version: "0.3.0"', '  version: "0.3.1"'),
)
"""Lines of the packaged policy, each with what stands in its place in the stricter one: a level lower from H1 on."""


def stricter_policy(packaged: str) -> str:
    """Return the packaged policy with lower ceilings. Raises ValueError if a line of STRICTER is not there once."""
    for line, lower in STRICTER:
        if packaged.count(f"{line}\n") != 1:
            raise ValueError(f"not once in the packaged policy: {line.strip()}")
        packaged = packaged.replace(f"{line}\n", f"{lower}\n")
    return packaged


def leave(
    directory: Path, settings: Settings, audits: Iterable[AuditRecord], responses: Iterable[AuditedResponse]
) -> None:
    """Write the files of a run."""
    encoder = msgspec.json.Encoder()
    (directory / AUDIT).write_bytes(encoder.encode_lines(list(audits)))
    (directory / RESPONSES).write_bytes(encoder.encode_lines(list(responses)))
    (directory / POLICY).write_text(
        stricter_policy(resources.files("topology").joinpath(PACKAGED).read_text("utf-8")), encoding="utf-8"
    )
    shutil.rmtree(directory / OVERLAYS, ignore_errors=True)
    shutil.copytree(settings.policy.overlays, directory / OVERLAYS)
    (directory / SETTINGS).write_text(settings_text(directory, settings), encoding="utf-8")


def settings_text(directory: Path, settings: Settings) -> str:
    """Return settings with which commands find the run: its overlays, its brokers, its topics."""
    topics = {name: getattr(settings.topics, name) for name in topic_fields(settings)}
    tables = {
        "policy": {"overlays": str(directory / OVERLAYS)},
        "kafka": {"bootstrap_servers": list(settings.kafka.bootstrap_servers)},
        "topics": topics,
    }
    return "\n".join(_table(name, values) for name, values in tables.items())


def topic_fields(settings: Settings) -> list[str]:
    """Return the names of the settings that name a topic of the run."""
    wanted = (
        "events",
        "audited",
        "audit",
        "review",
        "state",
        "canary",
        "usage",
        "policy",
        "dead_letters",
        "cancel",
        "stream",
    )
    return [name for name in wanted if hasattr(settings.topics, name)]


def next_commands(directory: Path, event_id: str) -> list[str]:
    """Return the commands that work on the files of a run, whatever became of its brokers."""
    where = directory.relative_to(Path.cwd()) if directory.is_relative_to(Path.cwd()) else directory
    options = f"--from-audit {where / AUDIT} --config {where / SETTINGS}"
    return [
        f"{_program()} policy explain {event_id} {options}",
        f"{_program()} policy simulate --policy {where / POLICY} {options}",
    ]


def _program() -> str:
    """Return how this program was called, if `sluicegate` alone would not be found."""
    called = Path(sys.argv[0])
    return str(called) if called.name == NAME and shutil.which(NAME) is None else NAME


def kcat_commands(settings: Settings) -> list[str]:
    """Return the lines that send an event to the run's own topics, and read the answers, while it is kept."""
    event = (
        '{"event_id":"e1","conversation_id":"c1","tenant_id":"open-chat","messages":[{"role":"user",'
        '"parts":[{"type":"text","text":"Hello"}]}]}'
    )
    servers, topics = ",".join(settings.kafka.bootstrap_servers), settings.topics
    return [
        f"echo '{event}' | kcat -P -b {servers} -t {topics.events} -k c1",
        f"kcat -C -b {servers} -t {topics.audited} -X isolation.level=read_committed -o beginning -e",
    ]


def _table(name: str, values: Mapping[str, object]) -> str:
    lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])
