"""The policy from files, as they are mounted into a pod: a bundle, and directories of overlays,
shadows and budgets.

Changes are found by content, because a mounted ConfigMap changes by swapping a symbolic link and its modification times
prove nothing. Files are read until two reads in a row agree, so that no read counts that saw half of a swap.
"""

from collections.abc import Iterator
from pathlib import Path

from topology.contract.errors import PolicyError
from topology.policy.documents import DOCUMENT_BYTES_MAX
from topology.policy.in_force import Policies
from workers.policy.loading import DocumentLoader, Documents, Named
from workers.settings import PolicySettings, Settings

READS_MAX = 3
"""Further reads until two in a row agree; after that, the files are left for the next look."""

DOCUMENTS_MAX = 10_000
"""Most files of one directory."""


class PolicyFiles:
    """The PolicySource of the files that settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.policy
        self._loader = DocumentLoader(settings)
        self._seen = ""

    def look(self) -> Policies | None:
        """Return the policies in the files; None if they did not change since the last look, even if that one failed.

        Raises PolicyError with every reason, OSError for a file that cannot be read.
        """
        documents = self._stable()
        digest = documents.digest()
        if digest == self._seen:
            return None
        self._seen = digest
        return self._loader.policies(documents)

    @property
    def refused(self) -> tuple[str, ...]:
        """Return nothing, because files are accepted or refused as a whole."""
        return ()

    def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _stable(self) -> Documents:
        last = read_documents(self._settings)
        for _ in range(READS_MAX):
            again = read_documents(self._settings)
            if again == last:
                return again
            last = again
        raise PolicyError(f"the policy files changed during each of {READS_MAX + 1} reads; they are read again later")


def load_policies(settings: Settings) -> Policies:
    """Load the policies in the files now. Raises PolicyError with every reason, OSError for a missing file."""
    return DocumentLoader(settings).policies(read_documents(settings.policy))


def read_documents(policy: PolicySettings) -> Documents:
    """Read the files without checking them. Raises OSError, and PolicyError for too many of them."""
    return Documents(
        bundle=_read(Path(policy.bundle)) if policy.bundle else None,
        overlays=tuple(_documents(policy.overlays)),
        shadows=tuple(_documents(policy.shadows)),
        budgets=tuple(_documents(policy.budgets)),
    )


def _documents(directory: str) -> Iterator[Named]:
    if not directory:
        return
    paths = sorted(path for path in Path(directory).iterdir() if path.suffix == ".yaml")
    if len(paths) > DOCUMENTS_MAX:
        raise PolicyError(f"{directory} has {len(paths)} documents; at most {DOCUMENTS_MAX} are allowed")
    for path in paths:
        yield path.name, _read(path)


def _read(path: Path) -> bytes:
    """Read at most one byte more than a document may have, which shows that it is too long."""
    with path.open("rb") as file:
        return file.read(DOCUMENT_BYTES_MAX + 1)
