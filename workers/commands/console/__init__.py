"""What all commands share: parsing, times, printing, progress, a short wait for Kafka."""
