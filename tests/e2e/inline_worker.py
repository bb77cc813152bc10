"""A worker as `sluicegate run` builds it, with every stage inside, in a process without Ray.

    python -m tests.e2e.inline_worker <pickled settings>

SIGTERM drains it.
"""

import pickle
import signal
import sys
from pathlib import Path

from workers.assembly import build_worker
from workers.settings import Settings


def main(path: Path) -> None:
    settings = pickle.loads(path.read_bytes())
    assert isinstance(settings, Settings)
    worker = build_worker(settings, 0, {})
    signal.signal(signal.SIGTERM, lambda _number, _frame: worker.drain(settings.drain.timeout_s))
    worker.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
