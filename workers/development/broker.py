"""The development broker: a real Apache Kafka node, broker and controller in one process, on loopback.

    python -m workers.development.broker start --dir var/kafka --port 9092

Every instance has its own directory and ports. Tests can kill it, freeze it and restart it on the same data, and see
what a worker does then.
"""

import argparse
import base64
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from workers.development.jars import DEVELOPMENT, BrokerError, fetch_jars, require_java
from workers.process.child import KeptProcess

HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
FORMAT_TIMEOUT_S = 60
TOOL_STARTUP_S = 30
"""Time for a command-line tool beyond its own waiting: a JVM starts slowly on a busy machine."""
READY_INTERVAL_S = 0.1
PORTS = range(20_000, 32_000)
"""Below Linux' ephemeral range, so that no outgoing connection takes a port while its broker restarts."""
PORT_TRIES_MAX = 200
LOG_TAIL_LINES = 25
FAST_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class DevelopmentBroker:
    """A Kafka cluster of one node. `extra_listeners` maps a listener's name to its security protocol.

    `advertised` maps a listener's name to where clients are told to connect, `host:port`, if a proxy stands before it.
    `properties` override those that are set here. Not safe for use by several threads at once.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        heap_mb: int = 512,
        properties: Mapping[str, str] | None = None,
        extra_listeners: Mapping[str, str] | None = None,
        advertised: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.directory = directory.absolute()
        self._heap_mb = heap_mb
        self._say = say
        self._protocols = {"CLIENTS": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **(extra_listeners or {})}
        self._ports = _assign_ports(port, list(self._protocols))
        self._advertised = advertised or {}
        self._properties = properties or {}
        self._process: KeptProcess | None = None
        self._libs: Path | None = None

    @property
    def bootstrap(self) -> str:
        """Return where clients connect in plain text, `host:port`."""
        return self.address("CLIENTS")

    def address(self, listener: str) -> str:
        """Return where a listener listens, `host:port`."""
        return f"{HOST}:{self._ports[listener]}"

    @property
    def pid(self) -> int | None:
        """Return the broker's process id; None if it does not run."""
        return self._process.pid if self.is_running and self._process else None

    @property
    def is_running(self) -> bool:
        """Return whether the process lives. A frozen one does."""
        return self._process is not None and self._process.exit_code is None

    @property
    def log(self) -> Path:
        """Return the path of the broker's log."""
        return self.directory / "broker.log"

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the broker, and return once a client can list topics. Formats new storage first. Raises BrokerError."""
        if self.is_running:
            return
        java = require_java()
        self._libs = fetch_jars(say=self._say)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_properties()
        self._format(java)
        options = [f"-Xmx{self._heap_mb}m", f"-Xms{min(256, self._heap_mb)}m", "-XX:+UseSerialGC"]
        command = [java, *options, *self._class_path(), "kafka.Kafka", str(self._properties_path)]
        self._process = KeptProcess(command, log=self.log, directory=self.directory)
        self._wait_ready(timeout_s)

    def stop(self) -> None:
        """Stop it in good order, by force after STOP_TIMEOUT_S. Its data stays."""
        if self._process is not None:
            self._process.stop(STOP_TIMEOUT_S)
            self._process = None

    def kill(self) -> None:
        """Kill it, as a power cut would. Its data stays."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start it again on the same ports and data. Kills it first if it still runs."""
        self.kill()
        self.start(timeout_s)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._running().send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker continue."""
        self._running().send(signal.SIGCONT)

    def console_consumer(
        self, topic: str, *, timeout_s: float = 5, messages_max: int | None = None, isolation: str = "read_committed"
    ) -> list[str]:
        """Return the values of a topic, one a line, as Kafka's own console consumer prints them.

        This is a second, independent reader. It reads from the beginning until it has `messages_max` values, or until
        nothing has come for `timeout_s`.
        """
        arguments = ["--bootstrap-server", self.bootstrap, "--topic", topic, "--from-beginning"]
        arguments += ["--isolation-level", isolation, "--timeout-ms", str(int(timeout_s * 1000))]
        if messages_max is not None:
            arguments += ["--max-messages", str(messages_max)]
        shown = self.run_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", arguments, timeout_s * 20)
        return shown.splitlines()

    def run_tool(self, main_class: str, arguments: Sequence[str], timeout_s: float = 60) -> str:
        """Return what one of Kafka's command-line tools prints. Raises BrokerError if it fails or takes too long."""
        assert self._libs is not None, "start comes first"
        command = [require_java(), *FAST_START, *self._class_path(), main_class, *arguments]
        return _run(command, timeout_s + TOOL_STARTUP_S, main_class)

    def _running(self) -> KeptProcess:
        if self._process is None:
            raise BrokerError("the broker is not running: start it first")
        return self._process

    @property
    def _properties_path(self) -> Path:
        return self.directory / "server.properties"

    def _class_path(self) -> list[str]:
        return ["-cp", f"{self._libs}/*", f"-Dlog4j2.configurationFile={DEVELOPMENT / 'log4j2.yaml'}"]

    def _write_properties(self) -> None:
        # Readable by its owner alone: the listener of a test may have a password in it.
        descriptor = os.open(self._properties_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in self._all_properties().items())

    def _all_properties(self) -> dict[str, str]:
        listeners = ",".join(f"{name}://{self.address(name)}" for name in self._protocols)
        told = {name: self._advertised.get(name, self.address(name)) for name in self._protocols}
        advertised = ",".join(f"{name}://{address}" for name, address in told.items() if name != "CONTROLLER")
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": listeners,
            "advertised.listeners": advertised,
            "listener.security.protocol.map": ",".join(f"{name}:{proto}" for name, proto in self._protocols.items()),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "CLIENTS",
            "controller.quorum.bootstrap.servers": self.address("CONTROLLER"),
            "log.dirs": str(self.directory / "data"),
            **_ONE_NODE,
            **self._properties,
        }

    def _format(self, java: str) -> None:
        if (self.directory / "data" / "meta.properties").exists():
            return
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [java, *FAST_START, *self._class_path(), "kafka.tools.StorageTool", "format", "--standalone"]
        # A single argument: an id may begin with a hyphen, and would then be read as an option.
        command += [f"--cluster-id={cluster_id}", "-c", str(self._properties_path)]
        _run(command, FORMAT_TIMEOUT_S, "formatting the broker's storage")

    def _wait_ready(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not self._is_ready():
            process = self._running()
            if process.exit_code is not None:
                raise BrokerError(f"the broker ended with {process.exit_code}; {self._tail()}")
            if time.monotonic() >= deadline_s:
                self.kill()
                raise BrokerError(f"the broker was not ready within {timeout_s:.0f} s; {self._tail()}")
            time.sleep(READY_INTERVAL_S)

    def _is_ready(self) -> bool:
        """Return whether a client can list topics. An open port alone does not mean that the broker is ready."""
        try:
            socket.create_connection((HOST, self._ports["CLIENTS"]), timeout=1).close()
            client = KafkaAdminClient(**self._probe_options())
        except (OSError, KafkaError):
            return False
        try:
            client.list_topics()
        except KafkaError:
            return False
        finally:
            client.close()
        return True

    def _probe_options(self) -> dict[str, Any]:
        return {"bootstrap_servers": self.bootstrap, "bootstrap_timeout_ms": 2000, "request_timeout_ms": 2000}

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join([f"the end of {self.log}:", *lines])


_ONE_NODE = {
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # Default 9 s: how long a controller refuses a broker that comes back from a kill. If this is much shorter, a busy
    # machine makes the only broker, with all its leaders, look dead.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "300",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # Default 10 s: how late the transaction of a vanished producer is aborted.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}
"""The properties that a single node needs, and those that keep tests short."""


def _assign_ports(first: int, names: Sequence[str]) -> dict[str, int]:
    """Return a port for each name: `first` and those above it, or free ones if `first` is 0. Raises BrokerError."""
    if first:
        return {name: first + index for index, name in enumerate(names)}
    ports: list[int] = []
    for _ in range(PORT_TRIES_MAX):
        if len(ports) == len(names):
            return dict(zip(names, ports, strict=True))
        port = random.choice(PORTS)
        if port not in ports and _is_free(port):
            ports.append(port)
    raise BrokerError(f"tried {PORT_TRIES_MAX} ports between {PORTS.start} and {PORTS.stop}, and none is free")


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are closing hold nothing
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def _run(command: Sequence[str], timeout_s: float, what: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - java, found by which
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise BrokerError(f"{what} took longer than {timeout_s:.0f} s") from exc
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LOG_TAIL_LINES:])
        raise BrokerError(f"{what} failed with {done.returncode}\n{tail}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a broker in the foreground until Ctrl-C or SIGTERM. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workers.development.broker", description="The development broker.")
    parser.add_argument("command", nargs="?", choices=["start"], default="start")
    parser.add_argument("--dir", type=Path, default=Path("var/kafka"), help="data and log (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9092, help="clients' port; 0: a free one (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.port and not _is_free(options.port):
        _print(f"port {options.port} is taken by another process; --port 0 takes a free one", sys.stderr.fileno())
        return 1
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    broker = DevelopmentBroker(options.dir, port=options.port, say=lambda text: _print(text, sys.stderr.fileno()))
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    try:
        broker.start()
    except BrokerError as exc:
        _print(str(exc), sys.stderr.fileno())
        return 1
    _print(f"Kafka is ready, its data is in {options.dir}; Ctrl-C stops it", sys.stderr.fileno())
    _print(broker.bootstrap, sys.stdout.fileno())
    while broker.is_running and not ended.wait(1):
        pass
    broker.stop()
    if not ended.is_set():
        _print(f"Kafka ended by itself; {broker.log} says why", sys.stderr.fileno())
    return 0 if ended.is_set() else 1


def _print(text: str, descriptor: int) -> None:
    os.write(descriptor, f"{text}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
