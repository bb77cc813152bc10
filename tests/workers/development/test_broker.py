"""The development broker: it starts, survives what tests do to it, and never outlives who started it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.checkout import ROOT
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import wait_until
from workers.development.broker import HOST, DevelopmentBroker, main
from workers.development.jars import BrokerError, cache_directory, check_digests, fetch_jars, java_major
from workers.process.child import KeptProcess

CHILD = """
import sys, time
from pathlib import Path
from workers.process.child import KeptProcess
kept = KeptProcess([sys.executable, "-c", "import time; time.sleep(600)"], log=Path(sys.argv[1]), directory=Path("."))
print(kept.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("shown", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("no java here", None),
    ],
)
def test_the_java_version_is_found(shown: str, major: int | None) -> None:
    assert java_major(shown) == major


def test_the_cache_is_where_the_user_says() -> None:
    assert cache_directory({"SLUICEGATE_CACHE": "/somewhere"}) == Path("/somewhere")
    assert cache_directory({"XDG_CACHE_HOME": "/cache"}) == Path("/cache/sluicegate")


def test_jars_other_than_the_listed_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "kafka_2.13-4.2.0.jar").write_bytes(b"not it")
    with pytest.raises(BrokerError, match="jars differ"):
        check_digests(tmp_path)


def test_without_maven_the_error_says_what_else_would_do(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="install Maven, or name a running broker in KAFKA_BOOTSTRAP_SERVERS"):
        fetch_jars({"SLUICEGATE_CACHE": str(tmp_path), "PATH": str(tmp_path)})


def test_a_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "log")], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait(60)
    parent.stdout.close()
    wait_until(lambda: not _is_running(pid), 10)


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    kept: list[KeptProcess] = []

    def start() -> None:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        kept.append(KeptProcess(command, log=tmp_path / "log", directory=tmp_path))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(60)
    child = kept[0]
    with pytest.raises(subprocess.TimeoutExpired):
        child._child.wait(0.5)  # pyright: ignore[reportPrivateUsage]
    assert child.stop(5) == -signal.SIGTERM


def test_a_stopped_child_is_ended_too(tmp_path: Path) -> None:
    child = KeptProcess(
        [sys.executable, "-c", "import time; time.sleep(600)"], log=tmp_path / "log", directory=tmp_path
    )
    child.send(signal.SIGSTOP)
    assert child.stop(5) < 0
    assert child.exit_code is not None


def test_a_command_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    child = KeptProcess([str(tmp_path / "missing")], log=tmp_path / "log", directory=tmp_path)
    wait_until(lambda: child.exit_code is not None, 10)
    assert child.exit_code != 0


@pytest.mark.kafka
def test_kafkas_own_consumer_reads_the_same(kafka: Kafka) -> None:
    topic = kafka.topic(2)
    kafka.send(topic, b"a", partition=0)
    kafka.send(topic, b"b", partition=1)
    assert sorted(kafka.broker.console_consumer(topic, messages_max=2)) == ["a", "b"]


@pytest.mark.kafka
def test_records_outlive_a_kill(kafka: Kafka) -> None:
    topic = kafka.topic()
    kafka.send(topic, b"kept")
    before = kafka.broker.pid
    kafka.broker.kill()
    assert kafka.broker.pid is None
    kafka.broker.start()
    assert kafka.broker.pid != before
    assert kafka.values(topic) == [b"kept"]


@pytest.mark.kafka
def test_a_frozen_broker_goes_on_where_it_was(kafka: Kafka) -> None:
    topic = kafka.topic()
    kafka.broker.pause()
    assert kafka.broker.is_running
    kafka.broker.resume()
    kafka.send(topic, b"a")
    assert kafka.values(topic) == [b"a"]


@pytest.mark.kafka
def test_a_broker_that_cannot_start_shows_the_end_of_its_log(kafka: Kafka, tmp_path: Path) -> None:
    assert kafka.broker.is_running
    broker = DevelopmentBroker(tmp_path, properties={"listener.security.protocol.map": "CLIENTS:PLAINTEXT"})
    with pytest.raises(BrokerError, match="CONTROLLER"):
        broker.start()
    assert not broker.is_running


@pytest.mark.kafka
def test_the_command_prints_the_address_and_stops_on_ctrl_c(kafka: Kafka, tmp_path: Path) -> None:
    assert kafka.broker.is_running, "skips where brokers are not ours to start"
    command = [
        sys.executable,
        "-m",
        "workers.development.broker",
        "start",
        "--dir",
        str(tmp_path / "kafka"),
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=dict(os.environ))
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"127.0.0.1:")
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()
    assert not _is_running(child.pid)


def test_the_command_names_a_port_that_is_taken(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        assert main(["start", "--dir", str(tmp_path), "--port", str(port)]) == 1
    printed = capfd.readouterr()
    assert f"port {port} is taken" in printed.err
    assert not printed.out


def _is_running(pid: int) -> bool:
    """Whether the process does anything still; what nobody has waited for is a zombie, not a process."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
