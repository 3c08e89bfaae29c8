"""What is compared: one file per context-extension method."""
