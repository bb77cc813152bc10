"""The bounds of a policy document: its depth and length, and that it can be read in one way only.

YAML is checked on its events, up to the first fault, before anything is built from it: building is recursive in C, and
a document of brackets alone would end the process. Constructs that a reader could overlook are refused too: a repeated
name, of which the last would win; anchors, merges and tags, which define a value in one place and use it in another.
"""

import json
from collections.abc import Iterator

import yaml

from topology.contract.errors import PolicyError
from topology.contract.measures.nesting import is_json_too_deep

DEPTH_MAX = 32
EVENTS_MAX = 200_000


class _Level:
    """An open mapping or list; for a mapping, the names so far and whether a name comes next."""

    __slots__ = ("is_mapping", "is_name_next", "names")

    def __init__(self, *, is_mapping: bool) -> None:
        self.is_mapping = self.is_name_next = is_mapping
        self.names: set[str] = set()


def check_yaml(raw: bytes, what: str) -> None:
    """Raise PolicyError, naming the line, if a document is too deep, too long, ambiguous or not YAML."""
    try:
        fault = next(_faults(raw), "")
    except yaml.YAMLError as exc:
        raise PolicyError(f"{what}: neither YAML nor JSON ({type(exc).__name__})") from exc
    if fault:
        raise PolicyError(f"{what}: {fault}")


def check_json(raw: bytes, what: str) -> None:
    """Check a JSON document as `check_yaml` checks YAML."""
    if is_json_too_deep(raw, DEPTH_MAX):
        raise PolicyError(f"{what}: nested deeper than {DEPTH_MAX}")

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise PolicyError(f"{what}: a name for the second time")
        return dict(pairs)

    json.loads(raw, object_pairs_hook=once)


def _faults(raw: bytes) -> Iterator[str]:
    levels: list[_Level] = []
    for count, event in enumerate(yaml.parse(raw, Loader=yaml.CSafeLoader)):
        line = event.start_mark.line + 1
        if count >= EVENTS_MAX:
            yield f"line {line}: more than {EVENTS_MAX} values, names and brackets"
        elif isinstance(event, yaml.CollectionEndEvent):
            levels.pop()
        elif isinstance(event, yaml.NodeEvent):
            fault = _node_fault(event, levels[-1] if levels else None)
            if fault:
                yield f"line {line}: {fault}"
            if isinstance(event, yaml.CollectionStartEvent):
                levels.append(_Level(is_mapping=isinstance(event, yaml.MappingStartEvent)))
                if len(levels) > DEPTH_MAX:
                    yield f"line {line}: nested deeper than {DEPTH_MAX}"


def _node_fault(event: yaml.NodeEvent, level: _Level | None) -> str:
    """Return why a value or a name is refused; empty if it is accepted."""
    if event.anchor is not None:
        return "an anchor or an alias; write the value where it belongs"
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
        return "a tag; write the value itself"
    if level is None or not level.is_mapping:
        return ""
    is_name, level.is_name_next = level.is_name_next, not level.is_name_next
    return _name_fault(event, level.names) if is_name else ""


def _name_fault(event: yaml.NodeEvent, names: set[str]) -> str:
    """Return why a name is refused; otherwise add it to `names` and return the empty text."""
    if not isinstance(event, yaml.ScalarEvent):
        return "a name that is no text"
    if event.value == "<<":
        return "a merge; write the values out"
    if event.value in names:
        return "a name for the second time"
    names.add(event.value)
    return ""
