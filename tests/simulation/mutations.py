"""Rules and guards of the worker, each taken out of its source on its own: the simulation has to notice every one.

A rule that stands on several guards loses all of them at once. `seed` is one that notices; a search finds another when
the source or the simulation changes (`python -m tests.simulation --mutations`).
"""

from typing import NamedTuple

from tests.simulation.modules import Change

COMMITTER, LOOP, POLLING = "workers.committer", "workers.loop", "workers.polling"
SINK, SOURCE, CLIENT, WATCHDOG = "workers.sink", "workers.source", "workers.kafka_client", "workers.watchdog"
ERRORS = "workers.kafka_errors"
TRACKER, ROUNDS, WINDOW, MAP = (
    "topology.tracker",
    "topology.rounds",
    "topology.partition_window",
    "topology.offset_map",
)


class Mutation(NamedTuple):
    """`is_strict` False: what comes of it has to show, not that a producer is used again, or what a source delivers."""

    name: str
    what: str
    changes: tuple[Change, ...]
    seed: int = 0
    is_strict: bool = True


_LATE_IDENTITY = Change(
    SINK,
    "producer.send_offsets_to_transaction(_positions(offsets), _membership(ownership))",
    "producer.send_offsets_to_transaction(_positions(offsets), __import__('threading').machine.live_metadata())",
)
"""The identity looked up when it is used, as Kafka's examples do, and not together with what was read under it."""

_NO_SILENCE_GUARD = Change(
    SOURCE, '            raise SlotFenced(self._name, "FencedInstanceIdError")', "            pass"
)

_NO_JOINED_GUARD = (
    Change(SINK, "if not is_joined(ownership):", "if False:"),
    Change(TRACKER, " or ownership.generation < 0 or not ownership.member_id:", ":"),
    Change(SOURCE, "if held.generation_id < 0 or not held.member_id:", "if False:"),
)

_ADDED_IN_LIMBO = Change(
    TRACKER,
    "if window is not None and window.hold is Hold.OWNED:\n                accepted",
    "if window is not None:\n                accepted",
)

RULES = (
    Mutation(
        "K1 futures not checked",
        "an expired record goes unnoticed",
        (
            Change(
                SINK,
                "errors = [future.exception if future.is_done else KafkaTimeoutError() for future in sent]",
                "errors = []",
            ),
        ),
        is_strict=False,
    ),
    Mutation(
        "K1 no flush",
        "a commit sends the rest itself, and does not care",
        (
            Change(SINK, "producer.flush(self._kafka.delivery_timeout_ms / 1000 + FLUSH_MARGIN_S)", "pass"),
            Change(SINK, "future.exception if future.is_done else KafkaTimeoutError()", "future.exception"),
        ),
    ),
    Mutation(
        "K2 producer used again",
        "offsets of an aborted transaction go with the next",
        (
            Change(
                SINK,
                "_discard(self._producer)\n        self._producer = self._build()",
                "self._producer.abort_transaction()",
            ),
        ),
        is_strict=False,
    ),
    Mutation(
        "I13 producer used again",
        "the same, seen at its first use",
        (
            Change(
                SINK,
                "_discard(self._producer)\n        self._producer = self._build()",
                "self._producer.abort_transaction()",
            ),
        ),
    ),
    Mutation(
        "K3 identity not compared",
        "a commit of nothing counts as one",
        (Change(SINK, "if _identity(self._producer) != self._identity:", "if False:"),),
    ),
    Mutation(
        "K4 no watchdog",
        "a commit waits for ever",
        (Change(WATCHDOG, 'self._end(operation, f"no answer within {seconds} s")', "pass"),),
    ),
    Mutation(
        "I14 unknown outcome taken for a failure",
        "what may be visible is done again",
        (
            Change(
                SINK,
                'raise self._watchdog.give_up("commit", type(exc).__name__) from exc',
                "self._recover(exc)\n            raise KafkaError from exc",
            ),
            Change(
                SINK,
                "                self._finish()",
                "                try:\n                    self._finish()\n"
                "                except KafkaError:\n                    return False",
            ),
        ),
    ),
    Mutation(
        "I14 unknown outcome taken for success",
        "what may not be visible is forgotten",
        (
            Change(
                SINK, 'raise self._watchdog.give_up("commit", type(exc).__name__) from exc', "return self._recover(exc)"
            ),
        ),
    ),
    Mutation(
        "K5 identity of nobody",
        "a member that was thrown out commits as an old client",
        (_LATE_IDENTITY, *_NO_JOINED_GUARD),
    ),
    Mutation(
        "K6 a limit to what a poll returns",
        "a paused partition never comes back",
        (Change(CLIENT, "POLL_RECORDS_MAX = 10**9", "POLL_RECORDS_MAX = 3"),),
    ),
    Mutation("K7 identity looked up late", "old results are committed with a new identity", (_LATE_IDENTITY,)),
    Mutation(
        "K7 member id not compared",
        "windows go on under another member id",
        (
            Change(
                TRACKER,
                "self._ownership is not None and self._ownership.member_id == ownership.member_id",
                "self._ownership is not None",
            ),
        ),
    ),
    Mutation(
        "K7 positions not read again",
        "a partition that comes back keeps its position",
        (Change(SOURCE, "            self._consumer.seek(partition, committed.offset)", "            pass"),),
    ),
    Mutation(
        "K10 cooperative assignor",
        "two members hold a partition in one generation",
        (
            Change(
                CLIENT,
                "sticky.sticky_assignor import StickyPartitionAssignor",
                "cooperative_sticky import CooperativeStickyAssignor",
            ),
            Change(CLIENT, "[StickyPartitionAssignor()]", "[CooperativeStickyAssignor()]"),
        ),
    ),
    Mutation(
        "K12 silent member kept",
        "a fenced process goes on for ever",
        (_NO_SILENCE_GUARD,),
    ),
    Mutation(
        "undecided offsets not waited for",
        "the position is read before a transaction that moves it is decided",
        (Change(CLIENT, 'isolation_level="read_committed",', 'isolation_level="read_uncommitted",'),),
    ),
    Mutation(
        "fenced producer built anew",
        "two holders of a slot fence each other for ever",
        (
            Change(
                ERRORS,
                "            kafka.UnreleasedInstanceIdError,\n        ),\n        Fault.FENCED,",
                "            kafka.UnreleasedInstanceIdError,\n        ),\n        Fault.STALE,",
            ),
            _NO_SILENCE_GUARD,
        ),
    ),
    Mutation(
        "offsets left out",
        "answers are visible and not done",
        (Change(SINK, "            if offsets:\n", "            if not offsets:\n"),),
    ),
)

SOURCES = (
    Mutation(
        "unplaced partitions deliver",
        "records come from where the library stood",
        (Change(SOURCE, "if partition not in self._unplaced:", "if True:"),),
    ),
    Mutation(
        "a fetch is kept across a change",
        "the same, in the poll that learns of the membership",
        (
            Change(
                SOURCE,
                "self._adopt(ownership, assignment_count)\n            return ()",
                "self._adopt(ownership, assignment_count)",
            ),
            Change(SOURCE, "if partition not in self._unplaced:", "if True:"),
        ),
    ),
    Mutation(
        "half a membership counts",
        "partitions of the last assignment under the identity of the next",
        (
            Change(
                SOURCE,
                "return ownership if held.state == MemberState.STABLE or ownership == self._ownership else None",
                "return ownership",
            ),
            Change(
                SOURCE,
                "if self._unplaced and self._consumer.group_metadata().state == MemberState.STABLE:",
                "if self._unplaced:",
            ),
        ),
    ),
    Mutation(
        "an assignment of the same generation goes unnoticed",
        "what is held goes on although positions moved",
        (
            Change(
                SOURCE,
                "if ownership != self._ownership or assignment_count != self._adopted_count:",
                "if ownership != self._ownership:",
            ),
        ),
    ),
    Mutation(
        "the map is not read",
        "what is done above the base is done again",
        (Change(SOURCE, 'metadata=committed.metadata or "",', 'metadata="",'),),
    ),
    Mutation(
        "failed rounds count as done",
        "their results are lost",
        (
            Change(
                COMMITTER,
                "(self._tracker.applied if is_done else self._tracker.aborted)(taken)",
                "self._tracker.applied(taken)",
            ),
        ),
    ),
    Mutation(
        "nothing is suspended",
        "work starts while partitions are given up",
        (Change(POLLING, "self._tracker.suspend(self._tracker.assigned)", "pass"),),
    ),
)

TRACKERS = (
    Mutation(
        "token not compared",
        "a dead result is taken",
        (Change(TRACKER, "if window is None or window.token != item.token:", "if window is None:"),),
    ),
    Mutation(
        "limbo ends whatever was committed",
        "what another member did meanwhile is done again",
        (Change(TRACKER, "if window is not None and window.position == position:", "if window is not None:"),),
    ),
    Mutation(
        "limbo compares the base alone",
        "what another member did above the base is done again",
        (Change(TRACKER, "window.position == position:", "window.position.offset == position.offset:"),),
    ),
    Mutation(
        "windows of lost partitions are kept",
        "what is somebody else's goes on",
        (Change(TRACKER, "if is_same_member and partition in self._assigned:", "if is_same_member:"),),
    ),
    Mutation(
        "results of dropped windows are kept",
        "they are committed with the next round",
        (Change(TRACKER, "self._rounds.drop(window)", "pass"),),
    ),
    Mutation(
        "an assignment is owned at once",
        "results are taken before the position was looked up",
        (Change(TRACKER, "self._windows[partition].hold = Hold.LIMBO", "self._windows[partition].hold = Hold.OWNED"),),
    ),
    Mutation(
        "limbo is suspended",
        "results are taken before the position was looked up",
        (
            Change(
                TRACKER,
                "if window is not None and window.hold is Hold.OWNED:\n                window.hold = Hold.SUSPENDED",
                "if window is not None:\n                window.hold = Hold.SUSPENDED",
            ),
        ),
    ),
    Mutation(
        "a position ends a suspension",
        "work starts while partitions are given up",
        (Change(TRACKER, "Hold.SUSPENDED if partition in self._suspended else Hold.OWNED", "Hold.OWNED"),),
    ),
    Mutation(
        "results in limbo are taken",
        "they are committed under a membership that may not own them",
        (
            Change(ROUNDS, "            if entry.window.hold is Hold.LIMBO:", "            if False:"),
            Change(ROUNDS, "        if window.hold is Hold.LIMBO:\n            return False\n", ""),
        ),
    ),
    Mutation(
        "the backlog of limbo starts",
        "work starts while partitions are given up",
        (Change(WINDOW, "if self.hold is not Hold.OWNED or not self._startable:", "if not self._startable:"),),
    ),
    Mutation(
        "records are taken in limbo",
        "a window gets records from where it may not stand",
        (_ADDED_IN_LIMBO, Change(SOURCE, "if partition not in self._unplaced:", "if True:")),
        is_strict=False,
    ),
    Mutation(
        "a round ends in another window",
        "a new window takes the position of an old round",
        (Change(ROUNDS, "if window is not None and window.token == token:", "if window is not None:"),),
    ),
    Mutation(
        "failed results of dropped windows come back",
        "they are committed again",
        (
            Change(
                ROUNDS,
                "for entry in self._taken if self._windows.get(entry.window.id) is entry.window]",
                "for entry in self._taken]",
            ),
        ),
    ),
    Mutation(
        "failed results come last",
        "a key's answers change places",
        (
            Change(
                ROUNDS,
                "for entry in reversed(kept):\n            entry.stage = Stage.READY\n"
                "            self._ready.appendleft(entry)",
                "for entry in kept:\n            entry.stage = Stage.READY\n            self._ready.append(entry)",
            ),
        ),
    ),
    Mutation(
        "an unreadable map is an empty one",
        "what it said was done is done again",
        (
            Change(
                TRACKER,
                "            self._stopped.add(partition)\n            raise",
                "            from msgspec.structs import replace\n\n"
                '            window = PartitionWindow(replace(position, metadata=""), token, self._map_limits)',
            ),
        ),
    ),
)

WINDOWS = (
    Mutation(
        "what was read is read again",
        "a record is held twice",
        (
            Change(WINDOW, "if record.offset < self.read_next:\n            return False\n        ", ""),
            Change(WINDOW, "self.is_full = not self._listed and (", "self.is_full = False and ("),
        ),
    ),
    Mutation(
        "what is done is read again",
        "a record below the map's end is held although it is done",
        (
            Change(
                WINDOW, "if record.offset < self.next:\n            return self._deliver_listed(record)\n        ", ""
            ),
        ),
    ),
    Mutation(
        "what vanished is waited for",
        "a compacted record that the map lists holds the partition up",
        (Change(WINDOW, "        self._forget_vanished(record.offset)\n", ""),),
    ),
    Mutation(
        "the window has no bound",
        "more is incomplete than the map can say",
        (
            Change(
                WINDOW,
                "while self._backlog and len(self._entries) < self.limits.incomplete_max:",
                "while self._backlog:",
            ),
        ),
    ),
    Mutation(
        "the map's budget is not looked at",
        "the window's bound does not fit the map",
        (Change(TRACKER, "min(self.incomplete_max, incomplete_max(self.map_chars_max))", "self.incomplete_max"),),
    ),
    Mutation(
        "reading pauses while records are to come again",
        "a full window waits for what it does not read",
        (Change(WINDOW, "self.is_full = not self._listed and (", "self.is_full = ("),),
    ),
    Mutation(
        "keys do not wait",
        "two of a key run at once",
        (Change(WINDOW, "return record.offset if record.key is None else record.key", "return record.offset"),),
    ),
    Mutation(
        "a key's next is forgotten",
        "it never starts",
        (Change(WINDOW, "heapq.heappush(self._startable, (line[0].offset, line))", "pass"),),
    ),
    Mutation(
        "the base passes what runs",
        "what has not finished counts as done",
        (Change(WINDOW, "if entry.stage is not Stage.TAKEN]", "if entry.stage not in {Stage.TAKEN, Stage.RUNNING}]"),),
    ),
    Mutation(
        "the base passes what is ready",
        "what is not in the round counts as done",
        (Change(WINDOW, "if entry.stage is not Stage.TAKEN]", "if entry.stage not in {Stage.TAKEN, Stage.READY}]"),),
    ),
    Mutation(
        "the base passes what has not come again",
        "what the map lists counts as done",
        (Change(WINDOW, "if entry.stage is not Stage.TAKEN]", "if entry.stage not in {Stage.TAKEN, Stage.LISTED}]"),),
    ),
    Mutation(
        "the map is not written",
        "what is done above the base is done again",
        (
            Change(
                WINDOW,
                "metadata = encode(base, self.next, left, budget_chars=self.limits.budget_chars)",
                'metadata = ""',
            ),
        ),
    ),
    Mutation(
        "the map is not taken over",
        "what it lists counts as done",
        (
            Change(WINDOW, "        self._listed.extend(done.incomplete)\n", ""),
            Change(WINDOW, "for offset in done.incomplete})", "for offset in ()})"),
        ),
    ),
    Mutation(
        "a round takes what finished meanwhile with it",
        "results are forgotten",
        (Change(WINDOW, "if entry.stage is Stage.TAKEN]:", "if entry.stage in {Stage.TAKEN, Stage.READY}]:"),),
    ),
    Mutation(
        "the checksum is not compared",
        "a broken map is believed",
        (Change(MAP, "if _checksum(base, raw[:-_CHECKSUM_BYTES]) != raw[-_CHECKSUM_BYTES:]:", "if False:"),),
    ),
    Mutation(
        "another version is an empty map",
        "what it said was done is done again",
        (Change(MAP, "    if not text:\n", "    if text[:3] not in {_PLAIN, _DEFLATED}:\n"),),
    ),
)

MUTATIONS = RULES + SOURCES + TRACKERS + WINDOWS
