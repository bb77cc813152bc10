"""What `sluicegate check` looks at, one module per thing; none of them changes anything."""
