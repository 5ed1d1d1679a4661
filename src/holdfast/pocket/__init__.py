"""The pocket model: a small drawn world, the model that learns it, and the script that makes it from nothing."""
