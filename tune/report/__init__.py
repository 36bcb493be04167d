"""DIR/NAME/report.html: what a study found, on one page that needs nothing else."""

from tune.report.page import write_report

__all__ = ["write_report"]
