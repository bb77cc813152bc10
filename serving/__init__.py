"""Who answers: prompts, the vLLM client and application, guards, redaction, and fakes of each port."""
