"""A connection to Ray for as long as a command runs: to a named cluster, or to one started here on loopback."""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

from workers.settings import RaySettings

NAMESPACE = "sluicegate"

LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""A variable that must be 0 before `ray` is imported: then a local cluster listens on 127.0.0.1 and nowhere else. The
name is Ray's, and it works on Linux too: without it, Ray replaces a loopback address by that of a network interface."""

LOGICAL_CPUS = 16
"""CPUs that a local cluster claims to have if settings name no number. The actors mostly wait."""


@contextmanager
def ray_session(settings: RaySettings, *, show_actors: bool = False) -> Generator[None]:
    """Hold a connection to Ray inside the block. With `show_actors`, the output of actors is printed here too.

    A cluster that was started here ends with the block; a named one stays. Call `prepare_ray` before `ray` is imported.
    Raises ConnectionError if the named cluster cannot be reached.
    """
    import ray

    try:
        with _interrupts_deferred():  # an interrupted start would leave processes that no shutdown knows of
            _initialise(settings, show_actors=show_actors)
        yield
    finally:
        ray.shutdown()


def _initialise(settings: RaySettings, *, show_actors: bool) -> None:
    import ray

    if settings.address:
        ray.init(address=settings.address, namespace=NAMESPACE, log_to_driver=show_actors)
        return
    ray.init(
        num_cpus=settings.logical_cpus or LOGICAL_CPUS,
        namespace=NAMESPACE,
        include_dashboard=False,
        log_to_driver=show_actors,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
    )


@contextmanager
def _interrupts_deferred() -> Generator[None]:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt at the end of the block; starting Ray takes some ten seconds.

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
    before = {number: signal.signal(number, lambda caught, _frame: seen.append(caught)) for number in numbers}
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
