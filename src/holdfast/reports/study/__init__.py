"""The report of a study: one offline page with its figures, and static pictures beside it."""

from holdfast.reports.study.page import write_study_page

__all__ = ["write_study_page"]
