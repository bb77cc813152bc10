"""What may be said, and whether it was kept to: ceilings, plan, verdict. Pure."""
