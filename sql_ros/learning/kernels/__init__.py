"""Fast paths written by hand; a test compares each with a plain reference."""
