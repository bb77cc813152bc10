"""`sluicegate check`: the probes of settings, policy, brokers, models and telemetry. None changes anything."""
