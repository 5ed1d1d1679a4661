"""MMT-Bench: one table; several pictures of a question are combined into one, or stand in a list (``_MI``)."""

from holdfast.tasks.preparing.table import read_table as read

__all__ = ["read"]
