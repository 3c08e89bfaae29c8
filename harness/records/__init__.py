"""What is written beside a number: machine, versions, memory, cost, and what was equal."""
