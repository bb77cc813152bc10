"""Text that leaves before its answer is whole: what may leave, in which pieces, and what its readers show. Pure."""
