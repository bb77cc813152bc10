"""The demonstration: sample conversations, the run, the census."""
