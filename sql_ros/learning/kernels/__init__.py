"""Fast paths written by hand. For each, a test compares it with a plain reference."""
