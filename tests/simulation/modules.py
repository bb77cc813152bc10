"""The worker's modules, loaded beside the ones in use: with virtual time and threads, and with a change to try.

A change replaces a text that is in the source exactly once, so a change that no longer fits the source is an error.
"""

import builtins
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from tests.simulation.threads import Machine

NAMES = (
    "topology.delivery.offset_map",
    "topology.delivery.partition_window",
    "topology.delivery.rounds",
    "topology.delivery.tracker",
    "workers.kafka.errors",
    "workers.stream.restoring",
    "workers.stream.conversation_states",
    "workers.kafka.watchdog",
    "workers.kafka.client",
    "workers.kafka.source",
    "workers.kafka.transactions",
    "workers.kafka.sink",
    "workers.stream.polling",
    "workers.stream.committer",
    "workers.stream.loop",
)
"""In the order of their imports of each other."""


class Change(NamedTuple):
    """Replace the only `old` in the source of `module` by `new`."""

    module: str
    old: str
    new: str


class Modules:
    """One set of the modules; `machine` runs them. `others` stand in for modules of these names."""

    def __init__(
        self,
        changes: Sequence[Change] = (),
        others: Mapping[str, ModuleType] | None = None,
        names: Sequence[str] = NAMES,
    ) -> None:
        self.machine = Machine()
        self._loaded: dict[str, Any] = {"threading": self.machine.threading, "time": self.machine.time}
        self._loaded.update(others or {})
        for name in names:
            self._loaded[name] = self._load(name, [change for change in changes if change.module == name])

    def __getitem__(self, name: str) -> Any:
        return self._loaded[name]

    def _load(self, name: str, changes: Sequence[Change]) -> ModuleType:
        importlib.import_module(name)  # dataclasses look their own module up
        module = ModuleType(name)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
        code = _code(name) if not changes else compile(_changed(name, changes), name, "exec")
        exec(code, module.__dict__)
        return module

    def _import(
        self,
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        names: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        if name in self._loaded:
            return self._loaded[name]
        return builtins.__import__(name, globals_, locals_, names, level)


def _changed(name: str, changes: Sequence[Change]) -> str:
    text = _source(name)
    for change in changes:
        found = text.count(change.old)
        if found != 1:
            raise LookupError(f"{name} has {found} times, not once: {change.old}")
        text = text.replace(change.old, change.new)
    return text


@cache
def _source(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


@cache
def _code(name: str) -> CodeType:
    return compile(_source(name), name, "exec")
