"""What a mutation is, and the modules that are changed."""

from typing import NamedTuple

from tests.simulation.modules import Change

COMMITTER, POLLING = "workers.stream.committer", "workers.stream.polling"
SINK, TRANSACTIONS, SOURCE, CLIENT, WATCHDOG = (
    "workers.kafka.sink",
    "workers.kafka.transactions",
    "workers.kafka.source",
    "workers.kafka.client",
    "workers.kafka.watchdog",
)
ERRORS = "workers.kafka.errors"
TRACKER, ROUNDS = "topology.delivery.tracker", "topology.delivery.rounds"
WINDOW, MAP = "topology.delivery.partition_window", "topology.delivery.offset_map"


class Mutation(NamedTuple):
    """`is_strict` False: what comes of it has to show, not that a producer is used again, or what a source delivers."""

    name: str
    what: str
    changes: tuple[Change, ...]
    is_strict: bool = True
