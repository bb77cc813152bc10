"""The Dockerfile, read, and its instructions carried out in a directory instead of an image.

COPY and RUN are done for real; what needs root in a container (users, Debian packages) is for tests to look at.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from msgspec import Struct

from tests.checkout import ROOT

DOCKERFILE = ROOT / "Dockerfile"
RUN_S = 300


class Stage(Struct, frozen=True):
    """`source` is an image or another stage."""

    name: str
    source: str
    instructions: list[tuple[str, str]]

    def of(self, instruction: str) -> list[str]:
        """The arguments of all such instructions."""
        return [argument for found, argument in self.instructions if found == instruction]


def stages() -> dict[str, Stage]:
    """Every stage by name."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, Stage] = {}
    current = Stage("", "", [])
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, argument = line.partition(" ")
        if instruction == "FROM":
            source, _, name = argument.partition(" AS ")
            current = Stage(name, source, [])
            found[name] = current
        elif current.name:
            current.instructions.append((instruction, argument.strip()))
    return found


STAGES = stages()


def chain(name: str) -> list[Stage]:
    """A stage and those it is made on, the first one first."""
    stage = STAGES[name]
    return [*(chain(stage.source) if stage.source in STAGES else []), stage]


def last(name: str, instruction: str) -> str:
    """The argument of the last such instruction of a target."""
    return [argument for stage in chain(name) for argument in stage.of(instruction)][-1]


def _sent(source: str) -> bool:
    """Whether .dockerignore lets a path through: the last pattern that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#") and fnmatch(source, pattern.removeprefix("!")):
            sent = pattern.startswith("!")
    return sent


class Directory:
    """Stands in for an image's root: /opt and the working directory are below it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.working = path / "build"
        self.working.mkdir(parents=True)
        self.environment = {**os.environ, **_index_for_uv()}
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment.pop("VIRTUAL_ENV", None)
        self.environment.pop("PYTHONPATH", None)

    def moved(self, text: str) -> str:
        """`text` with /opt below the directory."""
        return text.replace("/opt/", f"{self._path}/opt/")

    def execute(self, stage: Stage) -> None:
        """COPY and RUN as they come. Fails at the first command that does not end with 0."""
        for instruction, argument in stage.instructions:
            match instruction:
                case "ENV":
                    self.environment |= dict(pair.split("=", 1) for pair in shlex.split(argument))
                case "COPY":
                    *sources, target = argument.split()
                    self._copy(sources, self.working / target)
                case "RUN":
                    self.run(["bash", "-ec", self.moved(argument)], self.working)
                case _:
                    assert instruction == "WORKDIR", instruction

    def run(self, command: Sequence[str], working: Path) -> str:
        """What a command prints on either stream; fails where it does not end with 0."""
        done = subprocess.run(
            command, cwd=working, env=self.environment, capture_output=True, text=True, timeout=RUN_S, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
        return done.stdout + done.stderr

    def _copy(self, sources: Sequence[str], target: Path) -> None:
        for source in sources:
            assert _sent(source), f"{source} is kept back by .dockerignore"
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, target)


def _index_for_uv() -> dict[str, str]:
    """What pip was told about its index, for uv, as the Makefile does it."""
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
    return {"UV_SYSTEM_CERTS": "true", **({"UV_DEFAULT_INDEX": index} if index else {})}


def install_worker(path: Path) -> Directory:
    """What `--target worker` has below /opt; its programs come first on PATH. Takes half a minute with uv's cache."""
    directory = Directory(path)
    for stage in chain("build-worker"):
        directory.execute(stage)
    shutil.rmtree(directory.working)
    directory.working = path
    directory.environment["PATH"] = directory.moved(f"/opt/sluicegate/bin:{os.environ['PATH']}")
    return directory
