"""Ray on loopback, started once a session.

A worker that a test starts as a process may join it by `ray.address`, which saves a start of Ray; actors have the
group's name in theirs. Tests of what `sluicegate run` does with a Ray of its own name no address.
"""

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import pytest

from tests.checkout import ROOT
from workers.settings import RaySettings
from workers.supervision.ray_session import ray_session

LOGICAL_CPUS = 4
"""Ray starts as many processes in advance; the actors of a worker ask for a tenth each."""

TRIES_MAX = 3


@contextmanager
def session_ray() -> Generator[None]:
    """Run a cluster of this machine alone, whose workers import this very checkout."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        with ExitStack() as stack:
            _start(stack)
            import ray

            assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
            yield


def _start(stack: ExitStack) -> None:
    """Start Ray, once more where it was too slow: it gives its own daemon 30 s, which a busy machine passes."""
    for tries_left in reversed(range(TRIES_MAX)):
        try:
            stack.enter_context(ray_session(RaySettings(logical_cpus=LOGICAL_CPUS)))
        except Exception as exc:  # Ray raises nothing narrower
            if not tries_left or "timed out during startup" not in str(exc):
                raise
        else:
            return
