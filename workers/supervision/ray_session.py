"""A connection to Ray for as long as a command runs: to a named cluster, or to one started here on loopback."""

import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from topology.contract.errors import SluicegateError
from workers.settings import RaySettings

logger = logging.getLogger("sluicegate.ray")

NAMESPACE = "sluicegate"

LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""A variable that must be 0 before `ray` is imported: then a local cluster listens on 127.0.0.1 and nowhere else. The
name is Ray's, and it works on Linux too: without it, Ray replaces a loopback address by that of a network interface."""

LOGICAL_CPUS = 16
"""CPUs that a local cluster claims to have if settings name no number. The actors mostly wait."""

START_TRIES_MAX = 3
START_S_MAX = 120.0
"""After this time no further try begins. The limits of one try are inside Ray: mostly it ends within a minute."""

SLOW_START_S = 45.0
"""After this time a try that has not ended is told."""


STOPPING = b"sluicegate: stopping as soon as Ray is up\n"


class RayNotStarted(SluicegateError):
    """Ray did not start on this machine. `args` is one text, without any user's text."""


@contextmanager
def ray_session(
    settings: RaySettings, *, show_actors: bool = False, say_again: Callable[[str], object] = logger.warning
) -> Generator[None]:
    """Hold a connection to Ray inside the block. With `show_actors`, the output of actors is printed here too.

    `say_again` is told why Ray is started once more, and when a start is slow.
    A cluster that was started here ends with the block; a named one stays. Call `prepare_ray` before `ray` is imported.
    Raises ConnectionError if the named cluster cannot be reached, RayNotStarted if one here does not come up.
    """
    import ray

    try:
        with _interrupts_deferred():  # an interrupted start would leave processes that no shutdown knows of
            _initialise(settings, show_actors=show_actors, say_again=say_again)
        yield
    finally:
        ray.shutdown()


def _initialise(settings: RaySettings, *, show_actors: bool, say_again: Callable[[str], object]) -> None:
    import ray

    if settings.address:
        ray.init(address=settings.address, namespace=NAMESPACE, log_to_driver=show_actors)
        return

    def start() -> None:
        with told_when_slow(say_again):
            ray.init(
                address="local",  # whatever RAY_ADDRESS or an address file of `ray start` names
                num_cpus=settings.logical_cpus or LOGICAL_CPUS,
                namespace=NAMESPACE,
                include_dashboard=False,
                log_to_driver=show_actors,
                configure_logging=False,
                _node_ip_address="127.0.0.1",
            )

    start_patiently(start, ray.shutdown, time.monotonic, say_again)


@contextmanager
def told_when_slow(say: Callable[[str], object], after_s: float = SLOW_START_S) -> Generator[None]:
    """Tell, once, that the block has taken `after_s` seconds; it is told while the block runs, by another thread."""

    def tell() -> None:
        say(f"Ray is still starting after {after_s:.0f} s ({_load()}); {_log_path()}")

    timer = threading.Timer(after_s, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def start_patiently(
    start: Callable[[], object],
    clean_up: Callable[[], object],
    now_s: Callable[[], float],
    say_again: Callable[[str], object] = logger.warning,
) -> None:
    """Start Ray, at most `START_TRIES_MAX` times: on a busy machine its parts miss time limits that Ray fixes.

    Raises RayNotStarted with Ray's last reason and the path of its log.
    """
    began_s = now_s()
    for number in range(1, START_TRIES_MAX + 1):
        try:
            start()
        except Exception as exc:  # Ray raises the bare class. No event was read yet, so it holds no user's text.
            clean_up()
            reason = f"Ray did not start: {' '.join(str(exc).split()) or type(exc).__name__} ({_load()}); {_log_path()}"
            if number == START_TRIES_MAX or now_s() - began_s >= START_S_MAX:
                cure = "start again when the machine is less busy, or give it more CPUs"
                tried = "once" if number == 1 else f"{number} times"
                raise RayNotStarted(f"{reason}; tried {tried}: {cure}") from exc
            say_again(f"{reason}; trying again ({number + 1} of {START_TRIES_MAX})")
        else:
            return


def _load() -> str:
    return f"load {os.getloadavg()[0]:.0f} on {len(os.sched_getaffinity(0))} CPUs"


def _log_path() -> str:
    folder = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray" / "session_latest" / "logs"
    return f"Ray's own log is {folder / 'raylet.err'}"


@contextmanager
def _interrupts_deferred() -> Generator[None]:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt at the end of the block; starting Ray takes some ten seconds.

    The first of them is answered on standard error at once.

    Ray's own SIGTERM handler is kept out: it would raise SystemExit wherever the process happens to be, and so
    end a worker without its drain. (Starting Ray on another thread keeps it out too, but then `ray.shutdown` never
    returns.)
    """
    import ray._private.utils as ray_utils

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    rays_own = ray_utils.set_sigterm_handler
    ray_utils.set_sigterm_handler = _keep_handler

    def note(caught: int, _frame: FrameType | None) -> None:
        if not seen:
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, STOPPING)
        seen.append(caught)

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield
    finally:
        ray_utils.set_sigterm_handler = rays_own
        # Set again even if nothing changed: Ray's C++ part has put handlers of its own below Python's.
        for number, handler in before.items():
            signal.signal(number, handler)
    if seen:
        raise KeyboardInterrupt


def _keep_handler(_handler: object) -> None:
    """Do nothing. Ray calls this instead of setting its SIGTERM handler."""


def prepare_ray(settings: RaySettings) -> None:
    """Set what Ray reads from the environment, unless it is set. Call before anything imports `ray`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing here reports its use to anyone
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")  # Serve has log files of its own
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # a log line that resembles another one is wanted too
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 otherwise: guards would starve below what they guard
    if not settings.address:
        os.environ.setdefault(LOOPBACK_ONLY, "0")
