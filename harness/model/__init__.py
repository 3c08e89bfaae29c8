"""A model loaded: its files, its RoPE, its tokens, its answers and its losses."""
