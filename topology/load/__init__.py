"""Load: what has begun and what waits, in which order, and what can no longer be in time. Pure, but for its waits."""
