"""Commands that are killed, or interrupted, at any moment: files stay whole, and the next run is right."""
