"""Training of the encoder: base weights, pruned vocabulary, examples, network, schedule, export."""
