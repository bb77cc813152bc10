"""A connection to Ray for as long as a command runs: a cluster that is named, or one started here on loopback."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import ray

from workers.settings import RaySettings

NAMESPACE = "sluicegate"

LOGICAL_CPUS = 16
"""What a local cluster claims to have where settings say nothing: our actors mostly wait."""


@contextmanager
def ray_session(settings: RaySettings, *, temp_dir: str | None = None) -> Generator[None]:
    """Ray is initialised inside the block. A cluster that was started here ends with it; a named one stays.

    Raises ConnectionError where the named cluster cannot be reached.
    """
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
