"""Rules of redrive and replay, and of the transactions under them, each taken out on its own: every one is noticed."""

from tests.simulation.modules import Change
from tests.simulation.mutation import TRANSACTIONS, Mutation
from tests.simulation.mutations import RULES

WRITER, REDRIVING, REPLAYING = (
    "workers.commands.recovery.writer",
    "workers.commands.recovery.redriving",
    "workers.commands.recovery.replaying",
)

SHARED = frozenset(
    {
        "K1 futures not checked",
        "K1 no flush",
        "K3 identity not compared",
        "K4 no watchdog",
        "K17 a producer with an unanswered request is kept",
        "I14 unknown outcome taken for success",
        "offsets left out",
    }
)
"""Mutations of the protocol that a writer must notice too. A writer ends with its first failure: K2 and the membership
are the sink's affair, and to run again after an unknown outcome is what an operator does."""

WRITERS = (
    Mutation(
        "a writer continues after a failure",
        "what was not written counts as done",
        (Change(WRITER, 'raise aborted.as_error("write") from aborted.cause', "self._producer.renew()"),),
    ),
    Mutation(
        "I13 a writer uses its producer again",
        "the same, seen at its first use",
        (Change(WRITER, 'raise aborted.as_error("write") from aborted.cause', "pass"),),
    ),
    Mutation(
        "progress is committed in a transaction of its own",
        "a crash between the two leaves copies that nobody knows of",
        (
            Change(
                WRITER,
                "aborted = self._producer.commit(copies, [(memberless(group), offsets) "
                "for group, offsets in progress.items()])",
                "aborted = self._producer.commit(copies, []) or self._producer.commit(\n"
                "            (), [(memberless(group), offsets) for group, offsets in progress.items()])",
            ),
        ),
    ),
    Mutation(
        "a replaced producer is not noticed",
        "two commands write side by side",
        (Change(TRANSACTIONS, "transactional_id=self._id)", "transactional_id=f'{self._id}{id(self)}')"),),
    ),
)

REDRIVES = (
    Mutation(
        "marks are loaded before the id is held",
        "what another command put back meanwhile is put back again",
        (
            Change(REDRIVING, "        plan = Plan()\n", "        plan = Plan()\n        self.early = marks\n"),
            Change(REDRIVING, "marks = load_marks(kafka, self._reader.topic, self._spans)", "marks = self.early"),
        ),
    ),
    Mutation(
        "marks are not read",
        "letters are put back again",
        (Change(REDRIVING, "marks.load((partition, number), text)", "pass"),),
    ),
    Mutation(
        "marks of one segment alone are read",
        "letters of the others are put back again",
        (Change(REDRIVING, "-(-span.end // SEGMENT_LETTERS)", "span.start // SEGMENT_LETTERS + 1"),),
    ),
    Mutation(
        "marked letters are put back",
        "the same",
        (Change(REDRIVING, "if is_marked and not consent.again:", "if False:"),),
    ),
    Mutation(
        "a letter is marked with the next transaction",
        "it is visible and not marked",
        (
            Change(
                REDRIVING,
                "            segments |= {marks.add(partition, offset) for (partition, offset), _ in batch}\n"
                "            writer.write([copy for _, copy in batch], "
                "_progress(kafka, self._reader.topic, marks, segments))\n",
                "            writer.write([copy for _, copy in batch], "
                "_progress(kafka, self._reader.topic, marks, segments))\n"
                "            segments |= {marks.add(partition, offset) for (partition, offset), _ in batch}\n",
            ),
        ),
    ),
    Mutation(
        "poison is put back without being asked for",
        "workers crash on it again",
        (Change(REDRIVING, "== DeadLetterReason.POISON.value and not consent.poison:", "== 'none':"),),
    ),
    Mutation(
        "each redrive has an id of its own",
        "two commands write side by side",
        (
            Change(
                REDRIVING,
                'return f"{kafka.group_id}.{kafka.cluster_name}.redrive"',
                "return str(__import__('threading').machine.now_s())",
            ),
        ),
    ),
)

REPLAYS = (
    Mutation(
        "progress is read before the id is held",
        "what another command copied meanwhile is copied again",
        (
            Change(REPLAYING, "        job = self.job()\n", "        job = self.early\n"),
            Change(
                REPLAYING,
                "        return agreed(self._wanted, last, self._into, again=self._again)",
                "        self.early = agreed(self._wanted, last, self._into, again=self._again)\n"
                "        return self.early",
            ),
        ),
    ),
    Mutation(
        "a replay begins anew",
        "what was copied is copied again",
        (Change(REPLAYING, "    if last.spans == fresh.spans:\n        return last\n", ""),),
    ),
    Mutation(
        "progress names the last record",
        "it is copied again",
        (Change(REPLAYING, "record.offset + 1 for record in batch", "record.offset for record in batch"),),
    ),
    Mutation(
        "progress of one partition alone",
        "records of the others are copied again",
        (
            Change(
                REPLAYING,
                "{record.partition: record.offset + 1 for record in batch}",
                "{batch[-1].partition: batch[-1].offset + 1}",
            ),
        ),
    ),
    Mutation(
        "partitions are not committed at the start",
        "the offsets belong to two replays, and neither can continue",
        (Change(REPLAYING, "writer.write((), {self._group: self._progress(job, at)})", "pass"),),
    ),
    Mutation(
        "the end is not committed",
        "a range that ends in a gap is never done",
        (Change(REPLAYING, "writer.write((), {self._group: self._progress(job, ends)})", "pass"),),
    ),
    Mutation(
        "each replay has an id of its own",
        "two commands write side by side",
        (
            Change(
                REPLAYING,
                'return f"{kafka.group_id}.{kafka.cluster_name}.replay.{into}"',
                "return str(__import__('threading').machine.now_s())",
            ),
        ),
    ),
)

RECOVERY = tuple(rule for rule in RULES if rule.name in SHARED) + WRITERS + REDRIVES + REPLAYS

KNOWN = {
    "I14 unknown outcome taken for success": 6,
    "K17 a producer with an unanswered request is kept": 54,
    "progress is read before the id is held": 35,
    "partitions are not committed at the start": 5,
    "the end is not committed": 2,
    "each replay has an id of its own": 35,
}
"""Seeds that notice, if not 0."""
