"""What a policy is, and how one is read, checked, narrowed for a tenant and published."""
