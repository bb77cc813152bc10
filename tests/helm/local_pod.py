"""A rendered pod on this machine: its files below a directory, its first container's command as a process.

What a kubelet does, as far as it matters to the program: ConfigMaps and Secrets become files, fields of the pod become
environment variables, the preStop hook runs before SIGTERM. Paths of mounts are moved below the directory, wherever
arguments, environment or files name them.
"""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.helm.engine import ROOT, Document
from tests.helm.pods import Pod, Template

SecretTexts = Mapping[str, Mapping[str, str]]
"""Secret to key to value."""

KILL_WAIT_S = 10.0
ENVIRONMENT_KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "TMPDIR", "JAVA_HOME")
"""Of this process; an image has its own."""


class LocalPod:
    """The first container of `pod`. Raises KeyError where a ConfigMap, Secret or field is not there."""

    def __init__(
        self,
        pod: Pod,
        documents: Sequence[Document],
        *,
        secrets: SecretTexts,
        fields: Mapping[str, str],
        directory: Path,
    ) -> None:
        self.directory = directory
        self.container: Template = pod.spec["containers"][0]
        self.grace_s: int = pod.spec["terminationGracePeriodSeconds"]
        self._fields = fields
        self._maps = {each["metadata"]["name"]: each["data"] for each in documents if each["kind"] == "ConfigMap"}
        self._secrets = secrets
        self._places = {mount["mountPath"]: directory / mount["mountPath"][1:] for mount in self._mounts()}
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        for mount in self._mounts():
            self._write_volume(volumes[mount["name"]], self._places[mount["mountPath"]])

    @property
    def command(self) -> list[str]:
        """Command and arguments; `sluicegate` and `python` are those of this checkout's environment."""
        return self._on_this_machine([*self.container["command"], *self.container.get("args", [])])

    @property
    def pre_stop(self) -> list[str]:
        """The hook's command."""
        return self._on_this_machine(self.container["lifecycle"]["preStop"]["exec"]["command"])

    @property
    def environment(self) -> dict[str, str]:
        """The container's variables, `$(NAME)` resolved, over the few that an image would have."""
        found = {name: os.environ[name] for name in ENVIRONMENT_KEPT if name in os.environ}
        found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", os.defpath)])
        found["PYTHONPATH"] = str(ROOT)
        own: dict[str, str] = {}
        for variable in self.container["env"]:
            value = variable.get("value")
            if value is None:
                value = self._fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            for name, known in own.items():
                value = value.replace(f"$({name})", known)
            own[variable["name"]] = self.moved(value)
        return found | own

    def moved(self, text: str) -> str:
        """`text` with every path of a mount below the directory. /tmp is left: it is writable here as there."""
        for path in sorted(self._places, key=len, reverse=True):
            if not path.startswith(("/tmp", "/dev")):
                text = text.replace(path, str(self._places[path]))
        return text

    @contextmanager
    def running(self, log: Path) -> Generator["subprocess.Popen[bytes]"]:
        """The container's command; killed with the block whatever happened."""
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.command, env=self.environment, cwd=self.directory, stdout=out, stderr=subprocess.STDOUT
            )
            try:
                yield process
            finally:
                process.kill() if process.poll() is None else None
                process.wait(KILL_WAIT_S)

    def _mounts(self) -> list[dict[str, str]]:
        return self.container["volumeMounts"]

    def _on_this_machine(self, command: Sequence[str]) -> list[str]:
        return [self.moved(argument) for argument in command]

    def _write_volume(self, volume: Template, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        if "configMap" in volume:
            for name, text in self._maps[volume["configMap"]["name"]].items():
                (place / name).write_text(self.moved(text), encoding="utf-8")
        for source in volume.get("projected", {}).get("sources", []):
            self._write_secret(source["secret"]["name"], source["secret"]["items"], place)
        if "secret" in volume:
            self._write_secret(volume["secret"]["secretName"], volume["secret"]["items"], place)

    def _write_secret(self, name: str, items: Sequence[Mapping[str, str]], place: Path) -> None:
        for item in items:
            path = place / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._secrets[name][item["key"]], encoding="utf-8")
