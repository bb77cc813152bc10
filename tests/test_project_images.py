"""The images: no engine builds them here, so what the Dockerfile says is read, and its commands are run in a directory.

Instructions are taken from the Dockerfile itself. What needs root in a container (users, Debian packages) is looked at,
not run.
"""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.plugins.image import DOCKERFILE, ROOT, STAGES, install_worker, last

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = ("worker", "gpu")


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
    assert last(target, "USER") == "1000:1000"
    assert json.loads(last(target, "ENTRYPOINT")) == ["sluicegate"]
    assert isinstance(json.loads(last(target, "CMD")), list)
    assert STAGES[target].instructions[-1][0] == "CMD"


def test_the_chart_and_compose_mean_these_images() -> None:
    values = yaml.safe_load((ROOT / "helm/sluicegate/values.yaml").read_text(encoding="utf-8"))
    uid, gid = (int(number) for number in last("worker", "USER").split(":"))
    context = values["security"]["podSecurityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (uid, gid)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    worker = compose["services"]["worker"]
    assert worker["image"] == f"{values['image']['repository']}:{PROJECT['version']}"
    assert worker["build"]["target"] == "worker"
    assert worker["command"] == json.loads(last("worker", "CMD"))
    tags = re.findall(r"--tag (\S+)", DOCKERFILE.read_text(encoding="utf-8"))
    assert tags == [f"{values[image]['repository']}:{PROJECT['version']}" for image in ("image", "modelImage")]


def test_every_image_of_compose_has_a_version() -> None:
    for path in (ROOT / "compose.yaml", ROOT / "workers/development/compose.yaml"):
        services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
        images = [service["image"] for service in services.values() if "image" in service]
        assert all(re.search(r":\d+\.\d+\.\d+$", image) for image in images), images


@pytest.mark.install
@pytest.mark.timeout(900)
def test_the_workers_image_is_installed_by_its_own_commands_from_the_lock(tmp_path: Path) -> None:
    """In an empty directory; afterwards the entry command works there, and nothing that builds is left."""
    directory, empty = install_worker(tmp_path / "image"), tmp_path / "empty"
    empty.mkdir()
    directory.environment["HOME"] = str(empty)
    entry = json.loads(last("worker", "ENTRYPOINT"))
    assert "--config" in directory.run([*entry, *json.loads(last("worker", "CMD")), "--help"], empty)
    assert "all is well" in directory.run([*entry, "check", "--offline"], empty)
    assert "--model" in directory.run([*entry, "demo", "--help"], empty)
    told = "from workers.commands.demo.story.examples import examples; print(*(each.action for each in examples()))"
    assert "safe_completed" in directory.run(["python", "-I", "-c", told], empty)
    absent = ["pip", "uv", "torch", "vllm", "pytest"]
    looked = f"import importlib.util as i; print([n for n in {absent} if i.find_spec(n)])"
    assert directory.run(["python", "-I", "-c", looked], empty).strip() == "[]"
    heavy = "import ray.serve, workers.supervision.deployment, workers.assembly; print(workers.assembly.__file__)"
    assert directory.moved("/opt/sluicegate/") in directory.run(["python", "-I", "-c", heavy], empty)
