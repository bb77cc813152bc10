"""What the brokers let these credentials do, as far as they tell without anything being read or written."""

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
COORDINATOR_WAIT_S = 0.2
"""Between two questions to brokers that are just making their own topics."""


def right_lines(
    client: Any, settings: Settings, table: Sequence[TopicSpec], described: Mapping[str, Any], timeout_s: float
) -> Iterator[Line]:
    """Reading and writing per topic as the worker does it, the consumer group, the transactional id of the first slot.

    Asked about a group, brokers that never had one make their internal topics, as they would for the first worker.
    """
    deadline_s = time.monotonic() + timeout_s
    group = settings.kafka.group_id
    slot = slot_name(settings.kafka, settings.ray.slot_start)
    lines = [
        *_topic_rights(table, described),
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
    if not lines:
        yield ok("rights", "topics, consumer group and transactional id: nothing is refused")


def _read_group(client: Any, group: str) -> None:
    """Raises GroupAuthorizationFailedError where the group may not be joined; brokers tell only once there is one."""
    granted = client.describe_groups([group])[group]["authorized_operations"]
    if granted is not None and "READ" not in granted:
        raise library.GroupAuthorizationFailedError(group)


def _write_transactions(client: Any, slot: str) -> None:
    """Raises TransactionalIdAuthorizationFailedError where the id may not be written or looked at. Changes nothing.

    Brokers do not tell the rights on a transactional id. But asked for half an identity, they look at the right to
    write first, and only then find the request invalid (KafkaApis.handleInitProducerIdRequest, 2.7 to 4.2).
    """
    half = InitProducerIdRequest(transactional_id=slot, transaction_timeout_ms=1, producer_id=-1, producer_epoch=0)
    manager = client._manager  # noqa: SLF001 - the library has no call for it
    refused = library.for_code(manager.run(manager.send, half).error_code)
    if issubclass(refused, library.AuthorizationError):
        raise refused(slot)
    client.describe_transactions([slot])


def _topic_rights(table: Sequence[TopicSpec], described: Mapping[str, Any]) -> Iterator[Line]:
    for spec in table:
        granted = described[spec.name]["authorized_operations"]
        if granted is None:
            continue
        needed = [name for name, users in (("READ", spec.readers), ("WRITE", spec.writers)) if WORKER in users]
        if missing := [name for name in needed if name not in granted]:
            rights = " and ".join(missing)
            yield wrong("rights", f"no {rights} on {spec.name}", f"grant {rights} on topic {spec.name}")


def _asked(what: str, name: str, ask: Any, deadline_s: float, mend: str) -> Iterator[Line]:
    """Nothing where the brokers answer, or have not heard of it yet."""
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
                yield note("rights", f"{what} {name}: cannot be told now ({type(exc).__name__})")
                return
            time.sleep(COORDINATOR_WAIT_S)
        else:
            return
