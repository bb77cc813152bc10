"""Every setting is read and every metric is set by some line of the packages, as their syntax trees tell.

A setting counts as read where an attribute of its name is: `limits.in_flight_max`. The test cannot tell whose attribute
that is, so it finds no unused setting that shares its name with something used. A metric counts as set where it is the
first argument of `count`, `observe` or `gauge_set`.
"""

import ast
from functools import cache

from msgspec import inspect

from tests.checkout import ROOT, files
from topology.telemetry.metrics import Metric
from workers.settings import Settings
from workers.settings.keys import Leaf, leaves

PACKAGES = ("topology", "serving", "workers")
SETTINGS = ROOT / "workers" / "settings"
SETTERS = frozenset({"count", "observe", "gauge_set"})


@cache
def nodes() -> list[ast.AST]:
    """Return every node of the packages but those that declare and check settings."""
    paths = [path for package in PACKAGES for path in files(".py", below=package)]
    return [
        node
        for path in paths
        if not path.is_relative_to(SETTINGS)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]


def _offers_a_choice(leaf: Leaf) -> bool:
    """Return whether a setting can have two values; one that cannot only says so, as `failure_mode` does."""
    return not isinstance(leaf.kind, inspect.LiteralType) or len(leaf.kind.values) > 1


def test_every_setting_is_read() -> None:
    read = {node.attr for node in nodes() if isinstance(node, ast.Attribute)}
    unread = [leaf for leaf in leaves(Settings) if leaf.key.rpartition(".")[2] not in read]
    assert not [leaf.key for leaf in unread if _offers_a_choice(leaf)]


def test_every_metric_is_set() -> None:
    named = [
        node.args[0]
        for node in nodes()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in SETTERS
        and node.args
    ]
    told = {ast.unparse(part) for argument in named for part in ast.walk(argument) if isinstance(part, ast.Attribute)}
    assert not [metric.value for metric in Metric if f"Metric.{metric.name}" not in told]
