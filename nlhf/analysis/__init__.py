"""From folders of runs to tables, figures and a report. Reads what runs left behind; of nlhf it imports floor 0."""

from nlhf.analysis.criterion import View
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.observations import units
from nlhf.analysis.study import export, load
from nlhf.analysis.tuning import tuned
from nlhf.stats.comparison import compare, overall, profile, summarise

__all__ = ["AnalysisError", "View", "compare", "export", "load", "overall", "profile", "summarise", "tuned", "units"]
