"""Python's cyclic garbage collector, set for a worker: it makes many objects per event and no cycles of them.

With the defaults a busy worker spends 11 % of its CPU time looking for cycles among the events it holds, and finds
none (`python -m bench`, part a; the peak memory is the same).
"""

import gc

YOUNG_OBJECTS_MAX = 20_000
"""New container objects, less those freed, between two collections; Python's default is 700."""

OLDER_EVERY = 20
"""So many collections of one generation before one of the next; Python's default is 10."""


def spare_collections() -> None:
    """Look for cycles less often, and never again among what exists now. Call it once, when everything is built."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, OLDER_EVERY, OLDER_EVERY)
