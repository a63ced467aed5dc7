"""Reports of an evaluation: one object, and its ways to be written, found by name.

A new kind is one function under `@report_writer`; the command line takes its name from `REPORTS`.
"""

from asrkit.report import basic, html, terminal
from asrkit.report.model import Report
from asrkit.report.registry import (
    REPORTS,
    ReportFormat,
    find_report,
    plan_reports,
    report_writer,
)

__all__ = [
    "REPORTS",
    "Report",
    "ReportFormat",
    "basic",
    "find_report",
    "html",
    "plan_reports",
    "report_writer",
    "terminal",
]
