"""What a member fetches, read so that nothing in it can stop a partition: bounds, letters for what cannot be read."""
