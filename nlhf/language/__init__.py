"""Language models as policies: the model and its sampler, prompts, judges, and what is measured (extra `lm`)."""
