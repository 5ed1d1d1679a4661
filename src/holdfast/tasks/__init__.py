"""Tasks: examples, a prompt and a metric, from a file, a card or the pocket world."""
