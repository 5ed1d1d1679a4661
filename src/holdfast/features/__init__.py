"""The frozen-feature cache: what a frozen vision encoder says of an image, computed once and kept on disk."""
