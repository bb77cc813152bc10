"""The rights of these credentials, as far as brokers tell them without anything being read or written."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kafka import errors as library
from kafka.protocol.producer import InitProducerIdRequest

from workers.commands.check.probe import Line, note, ok, wrong
from workers.kafka.client import slot_name
from workers.kafka.topics import TopicSpec
from workers.settings import Settings

WORKER = "worker"
DOOR = "door"
COORDINATOR_WAIT_S = 0.2
"""The time between two questions to brokers that are creating their internal topics."""


def right_lines(
    client: Any, settings: Settings, table: Sequence[TopicSpec], described: Mapping[str, Any], timeout_s: float
) -> Iterator[Line]:
    """Check a worker's rights on its topics, on the consumer group and on the transactional id of the first slot.

    Brokers that never had a group create their internal topics when asked about one, as they do for a first worker.
    """
    deadline_s = time.monotonic() + timeout_s
    group = settings.kafka.group_id
    slot = slot_name(settings.kafka, settings.ray.slot_start)
    lines = [
        *_topic_rights(table, described, WORKER),
        *_asked("group", group, lambda: _read_group(client, group), deadline_s, f"grant READ on group {group}"),
        *_asked(
            "transactional id",
            slot,
            lambda: _write_transactions(client, slot),
            deadline_s,
            f"grant WRITE and DESCRIBE on transactional id {slot}",
        ),
    ]
    yield from lines
    if settings.door.keys_file:
        for line in _topic_rights(table, described, DOOR):
            yield note("rights", f"a door that logs in like this: {line.found}", f"{line.mend}, or to its own user")
    if not lines:
        yield ok("rights", "topics, consumer group and transactional id: nothing is refused")


def _read_group(client: Any, group: str) -> None:
    """Raise GroupAuthorizationFailedError if the group may not be joined. Brokers tell only of a group that exists."""
    granted = client.describe_groups([group])[group]["authorized_operations"]
    if granted is not None and "READ" not in granted:
        raise library.GroupAuthorizationFailedError(group)


def _write_transactions(client: Any, slot: str) -> None:
    """Raise TransactionalIdAuthorizationFailedError if the id may not be written or described. Changes nothing.

    Brokers do not tell the rights on a transactional id. But when asked for half an identity, they check the right to
    write before they find the request invalid (KafkaApis.handleInitProducerIdRequest, 2.7 to 4.2).
    """
    half = InitProducerIdRequest(transactional_id=slot, transaction_timeout_ms=1, producer_id=-1, producer_epoch=0)
    manager = client._manager  # noqa: SLF001 - the library has no call for it
    refused = library.for_code(manager.run(manager.send, half).error_code)
    if issubclass(refused, library.AuthorizationError):
        raise refused(slot)
    client.describe_transactions([slot])


def _topic_rights(table: Sequence[TopicSpec], described: Mapping[str, Any], user: str) -> Iterator[Line]:
    for spec in table:
        granted = described[spec.name]["authorized_operations"]
        if granted is None:
            continue
        needed = [name for name, users in (("READ", spec.readers), ("WRITE", spec.writers)) if user in users]
        if missing := [name for name in needed if name not in granted]:
            rights = " and ".join(missing)
            yield wrong("rights", f"no {rights} on {spec.name}", f"grant {rights} on topic {spec.name}")


def _asked(what: str, name: str, ask: Any, deadline_s: float, mend: str) -> Iterator[Line]:
    """Yield nothing if the brokers answer, or do not know the name yet."""
    while True:  # until `deadline_s`
        try:
            ask()
        except (library.TransactionalIdNotFoundError, library.GroupIdNotFoundError):
            return
        except library.AuthorizationError:
            yield wrong("rights", f"{what} {name} is refused", mend)
            return
        except library.KafkaError as exc:
            if time.monotonic() + COORDINATOR_WAIT_S >= deadline_s:
                yield note("rights", f"{what} {name}: the brokers cannot tell now ({type(exc).__name__})")
                return
            time.sleep(COORDINATOR_WAIT_S)
        else:
            return
