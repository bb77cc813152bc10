"""The answering side: prompts, the vLLM client and application, guards, redaction, and a fake of each port."""
