"""Tuning of the Python interpreter for a worker, which makes many objects per event but no cycles, on three threads.

With the defaults a busy worker spends 11 % of its CPU time looking for cycles among the events that it holds, and finds
none. A thread that wants the interpreter also waits up to 5 ms for it, such as the one that reads streamed answers
while a stage computes. Shorter turns cost switches: with 0.5 ms, three threads process 10 % fewer events than with 2,
which is as good as 5 (part a of `python -m bench`, three runs each: 185 to 215 us an event against 166 to 199).
"""

import gc
import sys

YOUNG_OBJECTS_MAX = 100_000
"""Container objects allocated, less those freed, between two collections; Python's default is 700.

Events hold far fewer from poll to commit, so a collection only finds objects that stay: with 20,000 it costs 5 to 9 %
of a worker's time (part a of `python -m bench`, nine runs each in turn).
"""

OLDER_EVERY = 20
"""Collections of one generation before one of the next; Python's default is 10."""

SWITCH_INTERVAL_S = 0.002
"""Longest turn of a thread while another one waits; Python's default is 0.005."""


def tune_interpreter() -> None:
    """Look for cycles less often, and never again among the objects that exist now; give threads shorter turns.

    Call it once, when everything is built.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, OLDER_EVERY, OLDER_EVERY)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
