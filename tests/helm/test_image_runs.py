"""The worker's image and the worker's pod together: another user, a read-only root, and the packages of the lock.

The long form. A mount namespace stands in for the container; where none may be made, the test is skipped.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.helm.engine import Engine
from tests.helm.local_pod import LocalPod
from tests.helm.pods import pods
from tests.helm.test_chart_runs import FIELDS, PLAIN, SECRETS, chart_values, is_answered
from tests.plugins.image import install_worker
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import fresh_settings, question, responses, send
from workers.commands.demo.parts import free_port

pytestmark = [pytest.mark.slow, pytest.mark.install, pytest.mark.kafka, pytest.mark.ray]

READ_ONLY = """
set -e
mount --make-rprivate /
mount --bind "$1" /mnt
mount -t tmpfs -o mode=1777,size=1g tmpfs /tmp
mkdir -p "$1"
mount --bind /mnt "$1"
mount -o remount,ro,bind "$1"
umount /mnt
mount -t tmpfs -o mode=1777,size=64m tmpfs "$1/pod/var/lib/sluicegate"
mkdir /tmp/ray
mount -t tmpfs -o mode=1777,size=4g tmpfs /tmp/ray
mount -t tmpfs -o mode=1777,size=256m tmpfs /dev/shm
mount -o remount,ro,bind /
! touch /var/tmp/sluicegate-is-read-only 2>/dev/null
shift
read="-all,+dac_read_search"
exec setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs \\
    --inh-caps=$read --ambient-caps=$read --bounding-set=$read env -i "$@"
"""
"""Takes the directory that stays visible, then variables and a command. Interpreters of developers lie where only root
may read, so the right to read is kept, and no other."""


def contained(directory: Path, environment: Mapping[str, str], command: Sequence[str]) -> list[str]:
    """The command as user 1000; it may write to /tmp, /dev/shm and the journal's directory."""
    variables = [f"{name}={value}" for name, value in environment.items()]
    return ["unshare", "--mount", "bash", "-c", READ_ONLY, "container", str(directory), *variables, *command]


@pytest.fixture(autouse=True)
def may_mount() -> None:
    tools = all(shutil.which(name) for name in ("unshare", "setpriv"))
    if not tools or os.geteuid() or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("needs root and the right to make mount namespaces, to stand in for a container")


def test_the_image_runs_the_rendered_worker_read_only_and_as_user_1000(
    engine: Engine, kafka: Kafka, tmp_path: Path
) -> None:
    image = install_worker(tmp_path / "image")
    settings, port = fresh_settings(kafka), free_port()
    documents = engine.render({"mode": "statefulset", **chart_values(settings, port)})
    worker = next(pod for pod in pods(documents) if pod.owner.startswith("StatefulSet/"))
    pod = LocalPod(worker, documents, secrets=SECRETS, fields=FIELDS, directory=tmp_path / "pod")
    own = {name: value for name, value in pod.environment.items() if name not in {"PYTHONPATH", "TMPDIR"}}
    environment = {**own, "PATH": image.environment["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            contained(tmp_path, environment, pod.command), cwd="/", stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: process.poll() is not None or is_answered(f"http://127.0.0.1:{port}/readyz"))
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        assert Path(f"/proc/{process.pid}").stat().st_uid == 1000
        send(settings, [question(number, candidate=PLAIN) for number in range(5)])
        wait_until(lambda: len(responses(settings)) == 5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text(errors="replace")[-3000:]
    finally:
        process.kill()
        process.wait(10)
