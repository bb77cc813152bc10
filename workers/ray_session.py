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
def ray_session(settings: RaySettings, *, temp_dir: str | None = None) -> Generator[None]:
    """Ray is initialised inside the block. A cluster that was started here ends with it; a named one stays.

    Raises ConnectionError where the named cluster cannot be reached.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing here reports its use to anyone
    if settings.address:
        ray.init(address=settings.address, namespace=NAMESPACE, log_to_driver=False)
    else:
        ray.init(
            num_cpus=settings.logical_cpus or LOGICAL_CPUS,
            namespace=NAMESPACE,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=temp_dir,
        )
    try:
        yield
    finally:
        ray.shutdown()


def keep_on_loopback() -> None:
    """Have a cluster that is started here listen on loopback alone. Call before anything imports `ray`."""
    os.environ.setdefault(LOOPBACK_ONLY, "0")
