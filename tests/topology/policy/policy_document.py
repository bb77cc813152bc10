"""Changes of a policy document, as functions that spoil a copy of it."""

from collections.abc import Callable
from typing import cast

from tests.topology.decision.policy_world import Document


def at(changed: Document, path: str) -> Document:
    """The mapping at a path; category names hold dots, so steps are parted by slashes."""
    place = changed
    for step in path.split("/"):
        place = cast("Document", place[step])
    return place


def put(path: str, value: object) -> Callable[[Document], None]:
    """A change that sets one field."""

    def change(changed: Document) -> None:
        parent, _, name = path.rpartition("/")
        (at(changed, parent) if parent else changed)[name] = value

    return change


def drop(path: str) -> Callable[[Document], None]:
    """A change that removes one field."""

    def change(changed: Document) -> None:
        parent, _, name = path.rpartition("/")
        del (at(changed, parent) if parent else changed)[name]

    return change


def rule(rule_id: str, **fields: object) -> Callable[[Document], None]:
    """A change of one verdict row; without fields the row is removed."""

    def change(changed: Document) -> None:
        rows = cast("list[Document]", changed["rules"])
        index = next(place for place, row in enumerate(rows) if row["id"] == rule_id)
        if fields:
            rows[index] = rows[index] | fields
        else:
            del rows[index]

    return change
