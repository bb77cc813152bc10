"""A connection to Ray for as long as a command runs: a cluster that is named, or one started here on loopback."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from workers.settings import RaySettings

NAMESPACE = "sluicegate"

LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Set to 0 before `ray` is imported, a local cluster listens on 127.0.0.1 and nowhere else. The name is Ray's, and it
works on Linux: without it, Ray replaces a loopback address by that of a network interface."""

LOGICAL_CPUS = 16
"""What a local cluster claims to have where settings say nothing: our actors mostly wait."""


@contextmanager
def ray_session(settings: RaySettings, *, show_actors: bool = False) -> Generator[None]:
    """Ray is initialised inside the block; with `show_actors` what actors print is printed here too.

    A cluster that was started here ends with it; a named one stays. Call `prepare_ray` before `ray` is imported.
    Raises ConnectionError where the named cluster cannot be reached.
    """
    import ray

    if settings.address:
        ray.init(address=settings.address, namespace=NAMESPACE, log_to_driver=show_actors)
    else:
        ray.init(
            num_cpus=settings.logical_cpus or LOGICAL_CPUS,
            namespace=NAMESPACE,
            include_dashboard=False,
            log_to_driver=show_actors,
            configure_logging=False,
            _node_ip_address="127.0.0.1",
        )
    try:
        yield
    finally:
        ray.shutdown()


def prepare_ray(settings: RaySettings) -> None:
    """Set what Ray reads from the environment. Call before anything imports `ray`; what is set already stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing here reports its use to anyone
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")  # Serve has log files of its own
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # a log line that is like another one counts too
    if not settings.address:
        os.environ.setdefault(LOOPBACK_ONLY, "0")
