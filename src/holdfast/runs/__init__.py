"""One run from configuration to verdict, and the folder that holds it."""
