"""The policy in force: where it comes from, who signed it, when it is replaced."""
