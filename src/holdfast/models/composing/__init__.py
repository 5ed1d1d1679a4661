"""A LLaVA-type model put together from a vision encoder and a language model."""
