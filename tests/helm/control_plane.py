"""A Kubernetes control plane on loopback: etcd, API server, controllers. No node: admitted pods stay pending."""

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.helm.engine import ROOT, Document
from workers.commands.demo.parts import free_port

DEFINITIONS = ROOT / "tests" / "data" / "crds" / "definitions"
TOKEN = "token-of-this-test"
START_S = 180.0
STOP_S = 20.0
REQUEST_S = 60.0
HELM_S = 180.0
LOOK_S = 0.2
CONTROLLERS = (
    "cronjob-controller,deployment-controller,disruption-controller,garbage-collector-controller,job-controller,"
    "namespace-controller,replicaset-controller,root-ca-certificate-publisher-controller,serviceaccount-controller,"
    "serviceaccount-token-controller,statefulset-controller"
)
PLURALS = {"CustomResourceDefinition": "customresourcedefinitions", "NetworkPolicy": "networkpolicies"}
CLUSTER_WIDE = {"CustomResourceDefinition", "Namespace", "PriorityClass", "RuntimeClass"}


class ApiError(Exception):
    """The API server refused; `args` is the status and its message."""


class ControlPlane:
    """Use as a context manager. `directory` gets data, certificates and logs."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._running = ExitStack()
        self._port = free_port()
        self._tls: ssl.SSLContext | None = None
        self.kubeconfig = directory / "kubeconfig"

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.push(self._running)
            etcd = self._start_etcd()
            self._start_api_server(etcd)
            self._write_kubeconfig()
            self._start_controllers()
            for path in sorted(DEFINITIONS.glob("*.json")):
                self.create(json.loads(path.read_text(encoding="utf-8")))
            self.wait(self._all_established, START_S)
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def create(self, document: Document, *, dry_run: bool = False) -> Document:
        """The object as it was made, or with `dry_run` as it would be. Unknown fields are refused. Raises ApiError."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self._ask("POST", _collection(document) + query, document)

    def patch(self, document: Document, change: Document) -> Document:
        """The object after a merge patch. Raises ApiError."""
        return self._ask("PATCH", f"{_collection(document)}/{document['metadata']['name']}", change)

    def get(self, document: Document) -> Document:
        """The object as it is now. Raises ApiError."""
        return self._ask("GET", f"{_collection(document)}/{document['metadata']['name']}")

    def items(self, api_version: str, kind: str, namespace: str) -> list[Document]:
        """All objects of a kind in a namespace. Raises ApiError."""
        listed = {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace}}
        return self._ask("GET", _collection(listed))["items"]

    def namespace(self, name: str) -> str:
        """A new namespace that enforces the restricted level."""
        labels = {f"pod-security.kubernetes.io/{what}": "restricted" for what in ("enforce", "warn")}
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        self.wait(lambda: self._is_there(account))
        return name

    def helm(self, *arguments: str) -> str:
        """What Helm prints. Fails where it does not end with 0."""
        home = self._directory / "helm"
        done = subprocess.run(
            [self._programs / "helm", *arguments, "--kubeconfig", self.kubeconfig],
            env={"HOME": str(home), "PATH": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=HELM_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def wait(self, holds: Callable[[], bool], timeout_s: float = START_S) -> None:
        """Returns once `holds`; fails after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline_s, f"not within {timeout_s:.0f} s"
            time.sleep(LOOK_S)

    def _is_there(self, document: Document) -> bool:
        try:
            self.get(document)
        except ApiError:
            return False
        return True

    def _all_established(self) -> bool:
        definitions = self._ask("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
        return all(_is_established(each.get("status", {}).get("conditions") or []) for each in definitions)

    def _start_etcd(self) -> str:
        clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._start(
            "etcd",
            "--name=one",
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=one={peers}",
            "--unsafe-no-fsync",
        )
        return clients

    def _start_api_server(self, etcd: str) -> None:
        key = self._write_signing_key()
        tokens = self._directory / "tokens.csv"
        tokens.write_text(f'{TOKEN},admin,1,"system:masters"\n', encoding="utf-8")
        certificates = self._directory / "certificates"
        self._start(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={certificates}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
        )
        self.wait(lambda: (certificates / "apiserver.crt").is_file() and (certificates / "apiserver.key").is_file())
        self._tls = ssl.create_default_context(cafile=str(certificates / "apiserver.crt"))
        self.wait(self._is_ready)

    def _is_ready(self) -> bool:
        try:
            self._ask("GET", "/api/v1/namespaces/default")
        except (ApiError, OSError):
            return False
        return True

    def _start_controllers(self) -> None:
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={CONTROLLERS}",
            "--leader-elect=false",
            "--secure-port=0",
            f"--service-account-private-key-file={self._directory / 'signing.key'}",
            f"--root-ca-file={self._directory / 'certificates' / 'apiserver.crt'}",
        )

    def _write_signing_key(self) -> Path:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path = self._directory / "signing.key"
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
        path.write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
        return path

    def _write_kubeconfig(self) -> None:
        authority = self._directory / "certificates" / "apiserver.crt"
        server = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority": str(authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "one", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "admin"}}],
            "current-context": "one",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")

    def _start(self, name: str, *arguments: str) -> None:
        log = self._running.enter_context((self._directory / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            [self._programs / name, *arguments], cwd=self._directory, stdout=log, stderr=subprocess.STDOUT
        )
        self._running.callback(_end, process)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        kinds = {"PATCH": "application/merge-patch+json"}
        request = urllib.request.Request(
            f"https://127.0.0.1:{self._port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": kinds.get(method, "application/json")},
        )
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_S, context=self._tls) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as exc:
            text = exc.read().decode(errors="replace")
            message = json.loads(text)["message"] if text.startswith("{") else text
            raise ApiError(exc.code, message) from exc


def _collection(document: Document) -> str:
    version, kind = document["apiVersion"], document["kind"]
    plural = PLURALS.get(kind, kind.lower() + ("es" if kind.endswith("s") else "s"))
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if kind in CLUSTER_WIDE:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{document['metadata']['namespace']}/{plural}"


def _is_established(conditions: Sequence[dict[str, str]]) -> bool:
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
