"""Policies: what one is, and how it is read, checked, narrowed for a tenant and published."""
