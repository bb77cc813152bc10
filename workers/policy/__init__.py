"""The policy in force: its sources, its signatures and its replacement."""
