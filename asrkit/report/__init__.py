"""Reports of an evaluation: one object, and its ways to be written, found by name.

A new kind is one function under `@REPORTS.writer`; the command line takes its name from there.
"""

from asrkit.report import basic, html, terminal
from asrkit.report.model import Report
from asrkit.report.registry import REPORTS, plan_reports

__all__ = ["REPORTS", "Report", "basic", "html", "plan_reports", "terminal"]
