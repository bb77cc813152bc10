"""What is measured of a document or a text: its depth, its ranges of characters."""
