"""vLLM as a Ray Serve application, and as a child process."""
