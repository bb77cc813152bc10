"""The programs of a Kubernetes control plane and Helm itself, built with Go into a cache that outlives `make clean`."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from workers.development.jars import cache_directory

MODULES = Path(__file__).parent / "api_server"
KUBERNETES_VERSION = "1.34.2"
HELM = "helm.sh/helm/v4/cmd/helm@v4.0.4"
BUILD_S_MAX = 3000
"""Four minutes on two idle cores; downloads and a busy machine make it half an hour."""

PROGRAMS = ("etcd", "helm", "kube-apiserver", "kube-controller-manager")


def built_programs() -> Path:
    """The directory that holds them, built now if they are not there. Skips the test where Go is missing."""
    place = cache_directory(os.environ) / f"kubernetes-{KUBERNETES_VERSION}-{_digest()[:12]}"
    if all((place / name).is_file() for name in PROGRAMS):
        return place
    if shutil.which("go") is None:
        pytest.skip("needs Go 1.24 or newer on PATH, to build a Kubernetes API server (once, some minutes)")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in PROGRAMS:
            if not (place / name).is_file():
                _build(name, place)
    return place


def _digest() -> str:
    files = [path.read_bytes() for path in sorted(MODULES.rglob("*")) if path.is_file()]
    return hashlib.sha256(b"\0".join([*files, HELM.encode()])).hexdigest()


def _build(name: str, place: Path) -> None:
    staging = place / f"building-{os.getpid()}"
    package = f"k8s.io/kubernetes/cmd/{name}"
    version = ("gitVersion=v" + KUBERNETES_VERSION, "gitMajor=1", "gitMinor=" + KUBERNETES_VERSION.split(".")[1])
    flags = " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{each}" for each in version)])
    match name:
        case "helm":
            arguments, module = ["install", HELM], MODULES
        case "etcd":
            arguments, module = ["build", "-o", str(staging / name), "."], MODULES / "etcd"
        case _:
            arguments = ["build", "-trimpath", "-ldflags", flags, "-o", str(staging / name), package]
            module = MODULES / "kubernetes"
    environment = {**os.environ, "GOBIN": str(staging), "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        ["go", *arguments],
        cwd=module,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{name} could not be built: {done.stderr[-2000:]}", pytrace=False)
    (staging / name).rename(place / name)
    staging.rmdir()
