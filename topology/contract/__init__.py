"""Everything that crosses a topic or a process: events, answers, dead letters, reasons, bounds, names, bytes."""
