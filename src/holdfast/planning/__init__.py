"""What a recipe will cost, from a configuration alone: no weights, no data, no accelerator."""
