"""What is reported of an event: its spans, and the metrics of a process."""
