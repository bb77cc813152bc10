"""The generator: its port, and its prompt compiled from the plan."""
