"""What `sluicegate policy` shows of policies: lint, tables, differences, explanations, simulations."""
