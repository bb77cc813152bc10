"""Matters of the operating-system process: children, exit codes, clock, interpreter, captured output, connections."""
