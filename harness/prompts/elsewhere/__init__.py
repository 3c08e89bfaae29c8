"""What `ropebench generate` puts beside its samples so that the stock lm_eval runs them."""
