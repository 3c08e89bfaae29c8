"""Searches over rescale factors. They get a loss function and know no model, no text and no tokenizer."""
