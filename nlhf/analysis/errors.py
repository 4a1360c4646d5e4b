"""The error for input that the analysis cannot use."""

from __future__ import annotations

from nlhf.config import ConfigError


class AnalysisError(ConfigError):
    """One sentence that names the folder, file, option or column, and the remedy. Exit code 2."""
