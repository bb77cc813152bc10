"""Every error of the library at every step ends a writer: nothing is visible, or the process ends."""

import pytest
from kafka import errors as library

from tests.plugins.kafka_slot import Ends
from tests.plugins.scripted_producer import STEPS, Producers
from tests.workers.kafka.test_sink_errors import FENCING, KINDS, OFFSET, RECORD, error_of
from topology.contract.errors import SluicegateError
from workers.commands.recovery.writer import CopyWriter
from workers.kafka.errors import Fault, KafkaRefused, KafkaUnavailable, OutcomeUnknown, SlotFenced, fault_of
from workers.settings import KafkaSettings


def _expected(error: library.KafkaError, step: str) -> type[SluicegateError]:
    if type(error) in FENCING:
        return SlotFenced
    if step == "commit":
        return OutcomeUnknown
    return KafkaRefused if fault_of(error) is Fault.REFUSED else KafkaUnavailable


@pytest.mark.parametrize("step", STEPS)
def test_every_error_at_every_step_ends_the_writer(step: str) -> None:
    for kind in KINDS:
        error, ends = error_of(kind), Ends()
        producers = Producers({step: error})
        writer = CopyWriter(KafkaSettings(), "group.cluster.redrive", exit_process=ends, make_producer=producers)
        expected = _expected(error, step)
        with pytest.raises(expected):
            writer.write([RECORD], {"group.redrive.0": [OFFSET]})
        assert ends.codes == ([70] if expected is OutcomeUnknown else []), kind
        (producer,) = producers.made
        assert producer.used_when_broken == [], kind
        writer.close()
        assert producer.is_closed
