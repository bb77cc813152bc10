"""`sluicegate demo`: the whole path on this machine, and a census of its records."""
