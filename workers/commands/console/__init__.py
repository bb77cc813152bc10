"""The parts that commands share: the parser, times, tables, printing, progress, a short wait for Kafka."""
