"""An experiment runs: what is missing, who takes it, what it gave."""
