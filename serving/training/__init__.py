"""Training and evaluating the embedded guards, offline."""
