"""`sluicegate check`, run before a deployment: looks at settings, policy, brokers, models, collector."""
