"""Ray actors started, watched, replaced and drained; the port of a node."""
