"""The policy in force: fetched from files or a topic, its signature checked, replaced without a restart."""
