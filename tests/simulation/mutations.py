"""Rules and guards of the worker, each taken out of its source on its own: the simulation has to notice every one.

A rule that stands on several guards loses all of them at once. Here those of the clients' side and of the threads;
`guards.py` has the tracker's.
"""

from tests.simulation.guards import TRACKERS, WINDOWS
from tests.simulation.modules import Change
from tests.simulation.mutation import (
    CLIENT,
    COMMITTER,
    ERRORS,
    POLLING,
    SINK,
    SOURCE,
    TRACKER,
    TRANSACTIONS,
    WATCHDOG,
    Mutation,
)

_LATE_IDENTITY = Change(
    TRANSACTIONS,
    "producer.send_offsets_to_transaction(_offsets(positions), _membership(ownership))",
    "producer.send_offsets_to_transaction(_offsets(positions), __import__('threading').machine.live_metadata())",
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

RULES = (
    Mutation(
        "K1 futures not checked",
        "an expired record goes unnoticed",
        (
            Change(
                TRANSACTIONS,
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
            Change(TRANSACTIONS, "producer.flush(self._kafka.delivery_timeout_ms / 1000 + FLUSH_MARGIN_S)", "pass"),
            Change(TRANSACTIONS, "future.exception if future.is_done else KafkaTimeoutError()", "future.exception"),
        ),
    ),
    Mutation(
        "K2 producer used again",
        "offsets of an aborted transaction go with the next",
        (
            Change(
                TRANSACTIONS,
                "self._leave(self._producer)\n        self._producer = self._build()",
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
                TRANSACTIONS,
                "self._leave(self._producer)\n        self._producer = self._build()",
                "self._producer.abort_transaction()",
            ),
        ),
    ),
    Mutation(
        "K3 identity not compared",
        "a commit of nothing counts as one",
        (Change(TRANSACTIONS, "if _identity(self._producer) != self._identity:", "if False:"),),
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
            Change(TRANSACTIONS, 'raise self._watchdog.give_up("commit", type(exc).__name__) from exc', "return exc"),
            Change(TRANSACTIONS, "                self._finish()", "                error = self._finish()"),
        ),
    ),
    Mutation(
        "I14 unknown outcome taken for success",
        "what may not be visible is forgotten",
        (
            Change(
                TRANSACTIONS,
                'raise self._watchdog.give_up("commit", type(exc).__name__) from exc',
                "return self.renew()",
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
        (Change(SOURCE, "self._consumer.seek(partition, position.offset)", "pass"),),
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
        "K17 a producer with an unanswered request is kept",
        "its first copy ends the next transaction, or takes the position back",
        (Change(TRANSACTIONS, "if unanswered := self._producer.unanswered:", "if unanswered := ():"),),
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
        (Change(TRANSACTIONS, "                if positions:\n", "                if not positions:\n"),),
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

MUTATIONS = RULES + SOURCES + TRACKERS + WINDOWS

KNOWN = {
    "K1 futures not checked": 0,
    "K1 no flush": 0,
    "K2 producer used again": 3,
    "K3 identity not compared": 0,
    "I14 unknown outcome taken for a failure": 3,
    "I14 unknown outcome taken for success": 6,
    "K5 identity of nobody": 3,
    "K7 identity looked up late": 3,
    "K7 member id not compared": 0,
    "K10 cooperative assignor": 42,
    "K12 silent member kept": 83,
    "K17 a producer with an unanswered request is kept": 51,
    "undecided offsets not waited for": 1,
    "fenced producer built anew": 3,
    "unplaced partitions deliver": 0,
    "half a membership counts": 54,
    "an assignment of the same generation goes unnoticed": 13,
    "failed rounds count as done": 0,
    "token not compared": 3,
    "limbo ends whatever was committed": 0,
    "limbo compares the base alone": 509,
    "windows of lost partitions are kept": 0,
    "an assignment is owned at once": 0,
    "limbo is suspended": 27,
    "a position ends a suspension": 4,
    "results in limbo are taken": 40,
    "records are taken in limbo": 0,
    "a round ends in another window": 110,
    "failed results of dropped windows come back": 57,
    "results of dropped windows are kept": 4,
    "failed results come last": 0,
    "an unreadable map is an empty one": 3,
    "what was read is read again": 3,
    "what vanished is waited for": 12,
    "the window has no bound": 0,
    "the map's budget is not looked at": 14,
    "reading pauses while records are to come again": 1,
    "the base passes what has not come again": 0,
    "the checksum is not compared": 305,
    "another version is an empty map": 76,
}
"""Seeds that notice, where it is not 0; `python -m tests.simulation --mutations` finds others when things change."""
