"""The run configuration: its fields, its YAML form and the overrides of the command line."""
