"""This operating-system process: its children, interpreter, clock, exit codes and captured output."""
