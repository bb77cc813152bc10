"""The jars of the development broker: fetched once by Maven into a cache, and checked against a list of digests.

The cache is `$SLUICEGATE_CACHE`, else `~/.cache/sluicegate`. It is shared by all checkouts and survives `make clean`.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

KAFKA_VERSION = "4.2.0"
JAVA_MIN = 17
FETCH_TIMEOUT_S = 300
"""The longest time to fetch the jars, which are 55 MB."""
JAVA_VERSION_TIMEOUT_S = 30

DEVELOPMENT = Path(__file__).parent

INSTEAD = (
    "or name a running broker in KAFKA_BOOTSTRAP_SERVERS, "
    "or start one with `docker compose -f workers/development/compose.yaml up --wait`"
)


class BrokerError(Exception):
    """A development broker that is missing or does not work. `args` is one sentence that says what to do."""


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return the directory that holds fetched files."""
    if named := environ.get("SLUICEGATE_CACHE"):
        return Path(named)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluicegate"


def require_java() -> str:
    """Return the path of a Java that is new enough. Raises BrokerError."""
    java = shutil.which("java")
    if java is None:
        raise BrokerError(f"no `java` on PATH: install Java {JAVA_MIN} or newer, {INSTEAD}")
    shown = subprocess.run(  # noqa: S603 - found by which
        [java, "-version"], capture_output=True, text=True, timeout=JAVA_VERSION_TIMEOUT_S, check=False
    )
    major = java_major(shown.stderr + shown.stdout)
    if major is None or major < JAVA_MIN:
        raise BrokerError(f"{java} is Java {major or 'unknown'}: install Java {JAVA_MIN} or newer, {INSTEAD}")
    return java


def java_major(shown: str) -> int | None:
    """Return the major version in the output of `java -version`; None if there is none. `1.8.0` is 8."""
    found = re.search(r'version "(?:1\.)?(\d+)', shown)
    return int(found.group(1)) if found else None


def fetch_jars(environ: Mapping[str, str] = os.environ, say: Callable[[str], None] = lambda _: None) -> Path:
    """Return the directory that holds the jars. Fetches them if they are missing; one process does, others wait.

    Raises BrokerError if Maven is missing, fails, or fetches anything other than `jars.sha256` lists.
    """
    cache = cache_directory(environ) / f"kafka-{KAFKA_VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    libs = cache / f"libs-{_expected_digest()[:12]}"
    if libs.is_dir():
        return libs
    with _locked(cache / "lock"):
        if not libs.is_dir():
            say(f"fetching Apache Kafka {KAFKA_VERSION} with Maven into {cache} (55 MB, once)")
            _fetch(cache, libs, shutil.which("mvn", path=environ.get("PATH", os.defpath)))
    return libs


def _fetch(cache: Path, libs: Path, maven: str | None) -> None:
    if maven is None:
        raise BrokerError(f"no `mvn` on PATH: install Maven, {INSTEAD}")
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as directory:
        jars = Path(directory) / "libs"
        _run_maven(maven, jars)
        check_digests(jars)
        jars.rename(libs)


def _run_maven(maven: str, jars: Path) -> None:
    # -C: a download whose checksum is wrong fails instead of warning.
    command = [maven, "-B", "-q", "-C", "-f", str(DEVELOPMENT / "pom.xml"), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    try:
        done = subprocess.run(  # noqa: S603 - found by which
            command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise BrokerError(f"Maven did not fetch the jars within {FETCH_TIMEOUT_S} s; try again, {INSTEAD}") from exc
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise BrokerError(f"Maven could not fetch the jars; make a repository reachable, {INSTEAD}\n{tail}")


def check_digests(jars: Path) -> None:
    """Raise BrokerError unless the directory holds exactly the listed jars with the listed contents."""
    expected = dict(_expected())
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.glob("*.jar")}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise BrokerError(f"{len(wrong)} jars differ from workers/development/jars.sha256; the first is {wrong[0]}")


def _expected() -> Iterator[tuple[str, str]]:
    """Yield names and digests from a list in the form that `sha256sum` writes."""
    for line in (DEVELOPMENT / "jars.sha256").read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        yield name, digest


def _expected_digest() -> str:
    return hashlib.sha256((DEVELOPMENT / "jars.sha256").read_bytes()).hexdigest()


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold an exclusive lock on `path`. Waits for another holder, which takes at most FETCH_TIMEOUT_S."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
