"""The window never lets a committed position pass an unfinished record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.ports import OutRecord, PartitionOffset, Record, Result
from topology.window import Window

TOPIC = "in"


def record(partition: int, offset: int) -> Record:
    return Record(topic=TOPIC, partition=partition, offset=offset, timestamp_ms=0, key=b"k", value=b"vv")


def result(partition: int, offset: int) -> Result:
    out = OutRecord(topic="out", key=b"k", value=f"{partition}:{offset}".encode())
    return Result(topic=TOPIC, partition=partition, offset=offset, records=(out,))


def test_only_the_finished_prefix_is_taken() -> None:
    window = Window()
    window.add([record(0, 5), record(0, 6), record(0, 9)])
    window.finish(result(0, 6), window.epoch)
    assert (window.ready, window.due) == (1, 0)
    assert window.take(10) is None
    window.finish(result(0, 5), window.epoch)
    assert window.due == 2
    batch = window.take(10)
    assert batch is not None
    assert [out.value for out in batch.records] == [b"0:5", b"0:6"]
    assert batch.offsets == (PartitionOffset(topic=TOPIC, partition=0, offset=7),)


def test_what_was_taken_stays_held_until_settled() -> None:
    window = Window()
    window.add([record(0, 1), record(0, 2)])
    window.finish(result(0, 1), window.epoch)
    batch = window.take(10)
    assert batch is not None
    assert (window.count, window.ready, window.size_bytes) == (2, 1, 6)
    window.settle(batch)
    assert (window.count, window.ready, window.size_bytes) == (1, 0, 3)


def test_a_batch_is_bounded_over_all_partitions() -> None:
    window = Window()
    for partition in range(3):
        window.add([record(partition, offset) for offset in range(4)])
        for offset in range(4):
            window.finish(result(partition, offset), window.epoch)
    batch = window.take(6)
    assert batch is not None
    assert batch.count == 6
    assert sum(position.offset for position in batch.offsets) == 6


def test_results_of_an_earlier_epoch_change_nothing() -> None:
    window = Window()
    window.add([record(0, 1)])
    stale = window.epoch
    window.clear()
    window.add([record(0, 1)])
    assert not window.finish(result(0, 1), stale)
    assert window.take(10) is None


def test_a_batch_of_an_earlier_epoch_settles_nothing() -> None:
    window = Window()
    window.add([record(0, 1)])
    window.finish(result(0, 1), window.epoch)
    batch = window.take(10)
    assert batch is not None
    window.clear()
    window.add([record(0, 1)])
    window.settle(batch)
    assert window.count == 1


def test_a_second_result_for_one_record_changes_nothing() -> None:
    window = Window()
    window.add([record(0, 1)])
    assert window.finish(result(0, 1), window.epoch)
    assert not window.finish(result(0, 1), window.epoch)
    assert window.ready == 1


def test_a_record_read_twice_is_an_error() -> None:
    window = Window()
    window.add([record(0, 4)])
    with pytest.raises(ValueError, match="offset 4"):
        window.add([record(0, 4)])


@given(st.data())
def test_any_order_of_completion_commits_every_record_once_in_order(data: st.DataObject) -> None:
    partitions = {p: data.draw(st.lists(st.integers(0, 50), unique=True, max_size=12)) for p in range(3)}
    window = Window()
    for partition, offsets in partitions.items():
        window.add([record(partition, offset) for offset in sorted(offsets)])
    todo = data.draw(st.permutations([(p, o) for p, offsets in partitions.items() for o in offsets]))
    seen: dict[int, list[int]] = {p: [] for p in partitions}
    finished: set[tuple[int, int]] = set()
    for partition, offset in todo:
        window.finish(result(partition, offset), window.epoch)
        finished.add((partition, offset))
        all_due = window.take(100)
        assert window.due == (all_due.count if all_due else 0)
        while (batch := window.take(data.draw(st.integers(1, 5)))) is not None:
            for out in batch.records:
                p, o = (int(part) for part in out.value.split(b":"))
                seen[p].append(o)
            for position in batch.offsets:
                below = {o for o in partitions[position.partition] if o < position.offset}
                assert all((position.partition, o) in finished for o in below)
            window.settle(batch)
    assert seen == {p: sorted(offsets) for p, offsets in partitions.items()}
    assert (window.count, window.ready, window.due, window.size_bytes) == (0, 0, 0, 0)
