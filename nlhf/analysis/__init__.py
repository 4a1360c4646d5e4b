"""From folders of runs to tables, figures and a report."""

from nlhf.analysis.comparison import compare
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.observations import observations
from nlhf.analysis.overall import overall, profile
from nlhf.analysis.study import export, load
from nlhf.analysis.summary import summarise
from nlhf.analysis.tuning import tuned

__all__ = [
    "AnalysisError",
    "Criterion",
    "compare",
    "export",
    "load",
    "observations",
    "overall",
    "profile",
    "summarise",
    "tuned",
]
