"""The images: no engine builds them here, so what the Dockerfile says is read, and its commands are run in a directory.

Instructions are taken from the Dockerfile itself. What needs root in a container (users, Debian packages) is looked at,
not run.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from msgspec import Struct

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = ("worker", "gpu")
RUN_S = 300


class Stage(Struct, frozen=True):
    """`source` is an image or another stage."""

    name: str
    source: str
    instructions: list[tuple[str, str]]

    def of(self, instruction: str) -> list[str]:
        return [argument for found, argument in self.instructions if found == instruction]


def _stages() -> dict[str, Stage]:
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


STAGES = _stages()


def _chain(name: str) -> list[Stage]:
    """A stage and those it is made on, the first one first."""
    stage = STAGES[name]
    return [*(_chain(stage.source) if stage.source in STAGES else []), stage]


def _last(name: str, instruction: str) -> str:
    return [argument for stage in _chain(name) for argument in stage.of(instruction)][-1]


def _installs() -> list[list[str]]:
    commands = [argument for stage in STAGES.values() for argument in stage.of("RUN") if not argument.startswith("awk")]
    parts = [shlex.split(part) for command in commands for part in command.split(" && ")]
    return [part for part in parts if {"install", "sync"} & set(part)]


def test_bases_are_pinned_by_tag_and_can_be_by_digest() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    (base,) = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.(\d+)\.\d+-slim-[a-z]+", base)
    for stage in STAGES.values():
        assert stage.source in STAGES or stage.source == "${BASE}${BASE_DIGEST}", stage
    assert re.search(r"^ARG BASE_DIGEST=", text, re.MULTILINE)


def test_nothing_is_fetched_but_by_package_clients_and_python_by_hash_alone() -> None:
    assert "ADD" not in {instruction for stage in STAGES.values() for instruction, _ in stage.instructions}
    assert not re.search(r"\b(curl|wget|git clone|sudo)\b|https?://", DOCKERFILE.read_text(encoding="utf-8"))
    for command in _installs():
        if command[:2] == ["apt-get", "install"]:
            assert "--no-install-recommends" in command
        elif command[0] != "install":
            assert "--require-hashes" in command or {"--offline", "--no-deps"} <= set(command), command


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_the_command_as_an_ordinary_user_without_a_shell(target: str) -> None:
    assert _last(target, "USER") == "1000:1000"
    assert json.loads(_last(target, "ENTRYPOINT")) == ["sluicegate"]
    assert isinstance(json.loads(_last(target, "CMD")), list)
    assert STAGES[target].instructions[-1][0] == "CMD"


def test_the_chart_and_compose_mean_these_images() -> None:
    values = yaml.safe_load((ROOT / "helm/sluicegate/values.yaml").read_text(encoding="utf-8"))
    uid, gid = (int(number) for number in _last("worker", "USER").split(":"))
    context = values["security"]["podSecurityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (uid, gid)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    worker = compose["services"]["worker"]
    assert worker["image"] == f"{values['image']['repository']}:{PROJECT['version']}"
    assert worker["build"]["target"] == "worker"
    assert worker["command"] == json.loads(_last("worker", "CMD"))
    tags = re.findall(r"--tag (\S+)", DOCKERFILE.read_text(encoding="utf-8"))
    assert tags == [f"{values[image]['repository']}:{PROJECT['version']}" for image in ("image", "modelImage")]


def test_every_image_of_compose_has_a_version() -> None:
    for path in (ROOT / "compose.yaml", ROOT / "workers/development/compose.yaml"):
        services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
        images = [service["image"] for service in services.values() if "image" in service]
        assert all(re.search(r":\d+\.\d+\.\d+$", image) for image in images), images


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


@pytest.mark.timeout(900)
def test_the_workers_image_is_installed_by_its_own_commands_from_the_lock(tmp_path: Path) -> None:
    """In an empty directory; afterwards the entry command works there, and nothing that builds is left."""
    directory = Directory(tmp_path / "image")
    for stage in _chain("build-worker"):
        directory.execute(stage)
    shutil.rmtree(directory.working)
    empty = tmp_path / "empty"
    empty.mkdir()
    directory.environment["PATH"] = directory.moved(f"/opt/sluicegate/bin:{os.environ['PATH']}")
    directory.environment["HOME"] = str(empty)
    entry = json.loads(_last("worker", "ENTRYPOINT"))
    assert "--config" in directory.run([*entry, *json.loads(_last("worker", "CMD")), "--help"], empty)
    assert "all is well" in directory.run([*entry, "check", "--offline"], empty)
    absent = ["pip", "uv", "torch", "vllm", "pytest"]
    looked = f"import importlib.util as i; print([n for n in {absent} if i.find_spec(n)])"
    assert directory.run(["python", "-I", "-c", looked], empty).strip() == "[]"
    heavy = "import ray.serve, workers.serve_supervisor, workers.assembly; print(workers.assembly.__file__)"
    assert directory.moved("/opt/sluicegate/") in directory.run(["python", "-I", "-c", heavy], empty)
