"""Tenants' budgets at work: what is admitted, what is refused, and what is counted. Pure."""
