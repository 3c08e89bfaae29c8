"""What the methods are compared on: tests that know text and numbers only."""
