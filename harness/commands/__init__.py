"""What each command does with the words that it is given; `harness.cli` lists them."""
