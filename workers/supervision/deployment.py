"""The supervisor as a Ray Serve deployment, for a RayService: Serve restarts it, and hands it changed settings.

    import_path: workers.serve_supervisor:build
    args: {config: /etc/sluicegate/settings/settings.toml}
    deployments: [{name: Supervisor, user_config: {settings_sha256: …}}]

It takes no traffic. Its actors end with the replica that started them, and the next replica starts new ones.
"""

import hashlib
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workers.settings import Settings, load_settings
from workers.supervision.node_agents import NodeAgents
from workers.supervision.supervisor import Supervisor
from workers.telemetry.logs import configure_logging
from workers.telemetry.setup import TELEMETRY_STOP_S, start_telemetry

if TYPE_CHECKING:
    from ray.serve import Application

logger = logging.getLogger("sluicegate.serve_supervisor")

CHANGE_WAIT_S: Final = 180.0
"""Longest wait until a mounted file has the digest `settings_sha256`. A kubelet updates it about once a minute."""
CHANGE_LOOK_S: Final = 0.5
BEAT_MAX_S: Final = 60.0
HEALTH_PERIOD_S: Final = 10.0
HEALTH_TIMEOUT_S: Final = 30.0
SHUTDOWN_MARGIN_S: Final = 15.0
"""Time that a drain may take beyond its own bound before Serve kills the replica."""


class RunningSupervisor:
    """A supervisor with its own thread, from `__init__` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._telemetry = start_telemetry(settings.telemetry, "supervisor")
        self._supervisor = Supervisor(settings, self._telemetry.instruments)
        self._agents = NodeAgents(settings)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what ended it, or RuntimeError if it stands still."""
        if self._failure is not None:
            raise RuntimeError("the supervisor ended") from self._failure
        beat_age_s = self._supervisor.node_state().beat_age_s
        if beat_age_s > BEAT_MAX_S:
            raise RuntimeError(f"the supervisor has made no step for {beat_age_s:.0f} s")

    def stop(self) -> None:
        """Drain, and end every actor. Waits at most the drain's bound and SHUTDOWN_MARGIN_S."""
        self._stop.set()
        self._thread.join(self._settings.drain.timeout_s + SHUTDOWN_MARGIN_S)
        self._telemetry.shutdown(TELEMETRY_STOP_S)

    def _run(self) -> None:
        try:
            self._supervisor.start()
            while not self._stop.wait(self._settings.ray.health_interval_s):
                self._supervisor.step()
                self._agents.step(self._supervisor.placed())
            is_clean = self._supervisor.drain(self._settings.drain.timeout_s)
            logger.info("drained", extra={"clean": is_clean})
        except BaseException as exc:
            self._failure = exc
            logger.exception("the supervisor ended")
            raise
        finally:
            self._agents.stop()


class SupervisorReplica:
    """The replica that Serve runs: one supervisor, replaced when the settings change."""

    def __init__(self, config: str) -> None:
        self._config = Path(config) if config else None
        self._digest = ""
        self._running: RunningSupervisor | None = None

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Run with the settings file that has the given digest. Serve calls this at the start and on every change."""
        digest = str(user_config.get("settings_sha256", ""))
        if self._running is not None and digest == self._digest:
            return
        settings = load_settings(self._settled(digest), os.environ)
        configure_logging(settings.telemetry.log_level, sys.stdout)
        if self._running is not None:
            logger.info("settings changed; replacing the supervisor")
            self._running.stop()
        self._running, self._digest = RunningSupervisor(settings), digest

    def check_health(self) -> None:
        """Raise if the supervisor has failed. Serve calls this, and replaces the replica if it raises."""
        if self._running is not None:
            self._running.check()

    def __del__(self) -> None:
        if self._running is not None:
            self._running.stop()

    def _settled(self, digest: str) -> Path | None:
        """Return the settings file once it has the digest. Raises TimeoutError."""
        if self._config is None or not digest:
            return self._config
        until_s = time.monotonic() + CHANGE_WAIT_S
        while hashlib.sha256(self._config.read_bytes()).hexdigest() != digest:
            if time.monotonic() >= until_s:
                raise TimeoutError(f"{self._config} did not match settings_sha256 within {CHANGE_WAIT_S:g} s")
            time.sleep(CHANGE_LOOK_S)
        return self._config


def build(args: dict[str, str]) -> "Application":
    """Return the Serve application. The argument `config` names the settings file."""
    from ray import serve

    config = args.get("config", "")
    drain_s = load_settings(Path(config) if config else None, os.environ).drain.timeout_s
    deployment: Any = serve.deployment(
        name="Supervisor",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0.1},
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=drain_s + SHUTDOWN_MARGIN_S,
        user_config={},
    )(SupervisorReplica)
    return deployment.bind(config)
