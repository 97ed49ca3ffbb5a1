"""dispatch: LLM requests to the right model, at the right provider, at the right moment."""
