"""AI2D: VLMEvalKit's tables of the test split, with and without letters drawn over the labels.

An index is the diagram's number times a hundred, plus the question's.
"""

from holdfast.tasks.preparing.table import read_table as read

__all__ = ["read"]
