"""The quarantine of records that were running when their process crashed. After several crashes they run no more.

Every record that ran in a crash is a suspect, whether it caused the crash or not, until it runs once more and finishes.
Suspects run one at a time, and alone if they ran in several crashes. Only a crash in which one ran alone counts.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from topology.contract.records import Record, Result
from topology.pipeline import Pipeline
from workers.settings import LimitSettings
from workers.stream.crash_journal import CrashJournal, Phase

logger = logging.getLogger("sluicegate.quarantine")

Answer = Callable[[Record, int, bool], Result]
"""A function from a record that must not run again, its crashes, and whether it may be decoded, to its result."""


class Quarantine:
    """The suspects of one worker, from its `journal`. Belongs to the thread that the journal belongs to.

    `decodes` decodes a record and does nothing else.
    """

    def __init__(
        self, journal: CrashJournal, *, crashes_max: int, decodes: Callable[[Record], object], answer: Answer
    ) -> None:
        self.journal = journal
        self._crashes_max = crashes_max
        self._decodes = decodes
        self._answer = answer

    @classmethod
    def none(cls, running_max: int) -> "Quarantine":
        """Return a quarantine that remembers no crash, so there are no suspects."""
        return cls(CrashJournal(running_max), crashes_max=1, decodes=_unasked, answer=partial(_unasked))

    def answer(self, record: Record) -> Result | None:
        """Return the result of a suspect that must not run again; None if it may run once more.

        The suspect is decoded first, under a mark that says so: if decoding crashes, the answer is made without it. A
        record in quarantine stays in the journal, because it may be read again until its answer is committed.
        """
        suspicion = self.journal.suspicion(record)
        if suspicion is None:  # it finished after all, under another ownership
            return None
        is_decodable = suspicion.phase is not Phase.DECODING
        mark = self.journal.start(record, Phase.DECODING)
        result = None
        try:
            if suspicion.crash_count >= self._crashes_max:
                place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                logger.error("record quarantined", extra={**place, "crash_count": suspicion.crash_count})
                result = self._answer(record, suspicion.crash_count, is_decodable)
            elif is_decodable:
                self._decodes(record)
        except BaseException:
            self.journal.blame(mark)
            raise
        (self.journal.survived if is_decodable else self.journal.stop)(mark)
        return result


def build_quarantine(limits: LimitSettings, journal: CrashJournal, pipeline: Pipeline) -> Quarantine:
    """Return a quarantine whose records are answered by `pipeline`."""
    return Quarantine(journal, crashes_max=limits.crashes_max, decodes=pipeline.decodes, answer=pipeline.quarantine)


def _unasked(*_: object) -> NoReturn:
    raise AssertionError("a suspect without a journal")
