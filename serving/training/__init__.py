"""Training and evaluation of the embedded guards, offline."""
