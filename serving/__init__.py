"""The answering side: guards, prompts, model endpoints, vLLM, redaction, and a fake of each port."""
