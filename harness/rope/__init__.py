"""RoPE on a live model: what a checkpoint says, the rotation, a plan applied and taken off."""
