"""The flips explorer: one offline page with the verdict and every item behind it."""

from holdfast.reports.explorer.page import write_report
from holdfast.reports.explorer.section import Section

__all__ = ["Section", "write_report"]
