"""The answers that were withheld because a check or a stage was late, and whether a busy machine explains that.

Pure: audit records and readings of the machine in, a verdict out. At most LATE_SHARE_MAX of a run's answers may be
late, at most BUSY_SHARE_MAX if other work kept the machine busy. Other work counts as the cause if both are true:

* the one-minute load average, as its mean over the run, stood above the number of cores, and
* processes outside the demo used more than OTHERS_SHARE_MIN of the machine's CPU time. The demo alone brings the load
  of a small machine above its cores, so the load by itself is no excuse.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct

from topology.contract.events import Action, AuditRecord
from topology.contract.labels import Outcome, VerdictKind
from topology.contract.names import ActionReason

LATE_SHARE_MAX = 0.02
"""The share of a run's answers that may be withheld for want of time on a machine that does nothing else."""

BUSY_SHARE_MAX = 0.05
"""The same beside other work."""

OTHERS_SHARE_MIN = 0.25
"""The share of the machine's CPU time above which other work is an excuse: half a core of two."""

_OWN_DEADLINE = (ActionReason.DEADLINE.value, ActionReason.OVERLOADED.value)
_TIMEOUT = f"_{Outcome.TIMEOUT.value}"


class MachineLoad(Struct, frozen=True, kw_only=True):
    """The load of the machine over a run. `others_share` is the share, in [0, 1], of the CPU time of all its cores."""

    cores: int
    average: float
    others_share: float

    @property
    def is_busy_with_others(self) -> bool:
        """Return whether other work took the time that the run lacked."""
        return self.average > self.cores and self.others_share > OTHERS_SHARE_MIN


class Lateness(Struct, frozen=True, kw_only=True):
    """The answers of a run, those withheld for want of time, and how many of these each stage held up."""

    answered_count: int
    late_count: int
    stages: Mapping[str, int]
    load: MachineLoad

    @property
    def share(self) -> float:
        """Return the late share of all answers; 0 without any."""
        return self.late_count / self.answered_count if self.answered_count else 0.0

    @property
    def share_max(self) -> float:
        """Return the late share that may be, on a machine as busy as this one was."""
        return BUSY_SHARE_MAX if self.load.is_busy_with_others else LATE_SHARE_MAX

    @property
    def is_fault(self) -> bool:
        """Return whether more answers were late than may be."""
        return self.share > self.share_max


def lateness_of(audits: Iterable[AuditRecord], load: MachineLoad) -> Lateness:
    """Count the late answers of a run."""
    late = [late_stages(record) for record in audits]
    return Lateness(
        answered_count=len(late),
        late_count=sum(1 for stages in late if stages),
        stages=dict(Counter(stage for stages in late for stage in stages).most_common()),
        load=load,
    )


def late_stages(record: AuditRecord) -> tuple[str, ...]:
    """Return the stages whose lateness withheld this answer; empty for every other answer.

    `deadline` and `overloaded` stand for the event's own deadline, which any stage may have used up.
    """
    if record.action is not Action.WITHHELD:
        return ()
    for code in record.reason_codes:
        if code in _OWN_DEADLINE:
            return (code,)
        if code.endswith(_TIMEOUT):  # a labeller or a generator, which no verdict follows
            return (code.removesuffix(_TIMEOUT),)
    if not record.attempts or record.attempts[-1].verdict.verdict is not VerdictKind.ESCALATE:
        return ()
    runs = record.attempts[-1].labels.guards
    return tuple(run.guard for run in runs if run.outcome is Outcome.TIMEOUT)
