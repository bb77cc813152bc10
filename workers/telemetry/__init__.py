"""The way of traces, metrics and logs out of the process: set-up, sampling, exporters, the metrics page."""
