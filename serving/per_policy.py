"""What is made once from a policy bundle and used for every event that is judged under it."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from topology.bundle import PolicyBundle

KEPT_MAX = 8
"""Policies in use at once: the one in force, the one before it while its last events finish, and shadows."""

Made = TypeVar("Made")


class PerPolicy(Generic[Made]):
    """Makes its part of a bundle on first use and keeps the `KEPT_MAX` used last. From any thread."""

    def __init__(self, make: Callable[[PolicyBundle], Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: OrderedDict[str, Made] = OrderedDict()

    def of(self, bundle: PolicyBundle) -> Made:
        """The part that belongs to `bundle`, which is known by its reference."""
        ref = bundle.ref
        with self._lock:
            made = self._made.get(ref)
            if made is None:
                made = self._made[ref] = self._make(bundle)
                if len(self._made) > KEPT_MAX:
                    self._made.popitem(last=False)
            else:
                self._made.move_to_end(ref)
            return made
