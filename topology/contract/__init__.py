"""What crosses a topic or a process: events, labels, records, names, errors, and their bytes."""
