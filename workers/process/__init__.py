"""This operating-system process: children, interpreter, clock, what libraries print."""
