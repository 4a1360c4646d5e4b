"""What analysis says of input that it cannot use."""

from __future__ import annotations


class AnalysisError(ValueError):
    """One sentence that names the folder, file, option or column, and the remedy. Exit code 2."""
