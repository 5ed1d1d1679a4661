"""Loading, the anatomy of a model, chat processing and the content identity of weights."""
