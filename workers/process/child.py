"""A child process that never outlives this one: the kernel kills it when this process dies, however it dies."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

SPAWN_TIMEOUT_S = 30
KILL_TIMEOUT_S = 10
"""The kernel ends a killed process within moments, unless it is in uninterruptible sleep."""

# prctl(PR_SET_PDEATHSIG) survives exec. The child sets it before exec, because preexec_fn may deadlock in a parent with
# threads. A parent that died before prctl sends no signal, so the child compares its parent's id afterwards.
_TRAMPOLINE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class KeptProcess:
    """A running child. Its output goes to `log`, or with None to this process's output.

    The child inherits the file descriptors `inherited`. On systems other than Linux only `stop` and `kill` end it.
    The kernel sends the signal when the *thread* that started the child ends (prctl(2)), so a dedicated thread starts
    the child and lives as long as it does.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path | None, directory: Path, inherited: Sequence[int] = ()
    ) -> None:
        self._command = list(command)
        self._log = log
        self._inherited = tuple(inherited)
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._ready = threading.Event()
        threading.Thread(target=self._keep, name="kept-process", daemon=True).start()
        if not self._ready.wait(SPAWN_TIMEOUT_S):
            raise TimeoutError(f"{self._command[0]} was not started within {SPAWN_TIMEOUT_S} s")
        if self._error is not None:
            raise self._error

    @property
    def pid(self) -> int:
        """Return the child's process id, also after its end."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """Return the exit code; None while the child runs, negative if a signal ended it."""
        return self._child.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the child and to no other process; do nothing if the child has ended."""
        self._child.send_signal(number)

    def stop(self, grace_s: float) -> int:
        """Ask the child to end, kill it after `grace_s`; return its exit code. Continues a stopped child."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        exit_code = self.wait(grace_s)
        return self.kill() if exit_code is None else exit_code

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the child to end by itself; return its exit code, or None if it still runs after `timeout_s`."""
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        """Kill the child and return its exit code once it is gone."""
        self.send(signal.SIGKILL)
        return self._child.wait(KILL_TIMEOUT_S)

    @property
    def _child(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _keep(self) -> None:
        try:
            with nullcontext() if self._log is None else self._log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603 - the caller's command, no shell
                    self._wrapped(),
                    cwd=self._directory,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=None if output is None else subprocess.STDOUT,
                    pass_fds=self._inherited,
                    start_new_session=True,
                )
        except OSError as exc:
            self._error = exc
        self._ready.set()
        if self._process is not None:
            self._process.wait()

    def _wrapped(self) -> list[str]:
        if sys.platform != "linux":
            return self._command
        return [sys.executable, "-I", "-S", "-c", _TRAMPOLINE, str(os.getpid()), *self._command]
