"""The loops of other clients run beside ours and give figures. Speed is not judged here."""

import shutil
from pathlib import Path

import pytest

from bench import rivals
from tests.plugins.kafka_broker import Kafka


@pytest.mark.kafka
@pytest.mark.skipif(shutil.which("javac") is None, reason="compiles a Java program: needs a JDK")
def test_every_arm_is_measured_and_compared_with_ours(kafka: Kafka, tmp_path: Path) -> None:
    size = rivals.Size(events=600, warm_events=250, rounds=1, uncounted=0)
    figures = rivals.measure(kafka.bootstrap, tmp_path, size, lambda _: None)
    assert all(figure.value > 0 for figure in figures)
    assert {figure.of for figure in figures if figure.name == "events/s"} == set(rivals.NAMES.values())
    assert sum(figure.name == "events/s, ratio" for figure in figures) == len(rivals.NAMES) - 1
