"""The policy in files: a bundle, a directory of overlays, a directory of shadows, as they are mounted into a pod.

What counts is what the files hold: a mounted ConfigMap changes by swapping a symbolic link, and modification times say
nothing. A read that sees the same twice saw no swap half done.
"""

from collections.abc import Iterator
from pathlib import Path

from topology.contract.errors import PolicyError
from topology.policy.documents import DOCUMENT_BYTES_MAX
from topology.policy.in_force import Policies
from workers.policy.loading import DocumentLoader, Documents, Named
from workers.settings import PolicySettings, Settings

READS_MAX = 3
"""Tries to see the same twice in a row; files that still change then are left for the next look."""

DOCUMENTS_MAX = 10_000
"""Files of one directory."""


class PolicyFiles:
    """The PolicySource over the files that settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.policy
        self._loader = DocumentLoader(settings)
        self._seen = ""

    def look(self) -> Policies | None:
        """The policies in the files; None where nothing changed since the last look, whatever came of that one.

        Raises PolicyError with every reason, OSError for what cannot be read.
        """
        documents = self._stable()
        digest = documents.digest()
        if digest == self._seen:
            return None
        self._seen = digest
        return self._loader.policies(documents)

    @property
    def refused(self) -> tuple[str, ...]:
        """Nothing: files are taken or refused as a whole."""
        return ()

    def close(self) -> None:
        """Nothing is held."""

    def _stable(self) -> Documents:
        last = read_documents(self._settings)
        for _ in range(READS_MAX):
            again = read_documents(self._settings)
            if again == last:
                return again
            last = again
        raise PolicyError("the files change while they are read")


def load_policies(settings: Settings) -> Policies:
    """What files hold now. Raises PolicyError with every reason, OSError for a missing file."""
    return DocumentLoader(settings).policies(read_documents(settings.policy))


def read_documents(policy: PolicySettings) -> Documents:
    """The files as they are. Raises OSError, and PolicyError for too many of them."""
    return Documents(
        bundle=_read(Path(policy.bundle)) if policy.bundle else None,
        overlays=tuple(_documents(policy.overlays)),
        shadows=tuple(_documents(policy.shadows)),
    )


def _documents(directory: str) -> Iterator[Named]:
    if not directory:
        return
    paths = sorted(path for path in Path(directory).iterdir() if path.suffix == ".yaml")
    if len(paths) > DOCUMENTS_MAX:
        raise PolicyError(f"{directory}: {len(paths)} documents, at most {DOCUMENTS_MAX}")
    for path in paths:
        yield path.name, _read(path)


def _read(path: Path) -> bytes:
    """One byte more than a document may have shows that it is too long."""
    with path.open("rb") as file:
        return file.read(DOCUMENT_BYTES_MAX + 1)
