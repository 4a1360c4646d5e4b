"""Loading models, their tokenizers and prompts."""
