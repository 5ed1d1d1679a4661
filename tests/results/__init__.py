"""Results of studies: read, aggregated, judged."""
