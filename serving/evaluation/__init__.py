"""Guards measured on labelled rows: read, run, counted per language with intervals, and calibrated."""
