"""Everything that the pipeline asks: micro-batches, pools of stage actors, language models."""
