"""Text that the tests are made of: word lists, the invented world, files of the user."""
