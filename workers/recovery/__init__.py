"""What operators do with records that went before: look at dead letters, put them back, replay a range of the input."""
