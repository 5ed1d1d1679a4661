"""Official metrics, one small file a metric or family, found by name through :mod:`.registry`."""
