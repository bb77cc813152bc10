"""The encoder: one pass over a text gives all labels of a request, a reply, or a document."""
