"""The generator: its prompt, compiled from the plan, and its port."""
