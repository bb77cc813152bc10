"""The clients of the brokers: Source and Sink, the transaction protocol, credentials, readers, topics."""
