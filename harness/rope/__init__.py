"""RoPE: what a configuration says about it, rotation in a live model, a plan applied, proved and taken off."""
