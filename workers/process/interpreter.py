"""The Python interpreter, set for a worker: many objects per event and no cycles, and three threads that take turns.

With the defaults a busy worker spends 11 % of its CPU time looking for cycles among the events it holds, and finds
none. And a thread that wants the interpreter waits up to 5 ms for it: the one that reads streamed answers, behind a
stage. Shorter turns cost switches: three threads get 10 % fewer events through with half a millisecond than with two,
which is as good as five (part a of `python -m bench`, three runs each: 185 to 215 us an event against 166 to 199).
"""

import gc
import sys

YOUNG_OBJECTS_MAX = 100_000
"""New container objects, less those freed, between two collections; Python's default is 700.

What events hold from poll to commit is far less, so a collection finds nothing but what stays: with 20,000 it costs
5 to 9 % of a worker's time (part a of `python -m bench`, nine runs each in turn).
"""

OLDER_EVERY = 20
"""So many collections of one generation before one of the next; Python's default is 10."""

SWITCH_INTERVAL_S = 0.002
"""How long a thread may run while another one waits; Python's default is 0.005."""


def tune_interpreter() -> None:
    """Look for cycles less often, and never again among what exists now; let threads take shorter turns.

    Call it once, when everything is built.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, OLDER_EVERY, OLDER_EVERY)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
