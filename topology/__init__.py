"""What flows, in which order, under which rules. Pure: standard library and msgspec only."""
