"""Guards measured and calibrated on labelled rows."""
