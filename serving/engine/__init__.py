"""vLLM itself: its options, as a Ray Serve application or as a child process."""
