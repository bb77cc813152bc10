"""The steps of an answer that leaves while it is written: segments, each judged with what stands before it."""
