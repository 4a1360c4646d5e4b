"""From folders of runs to tables and figures. Reads what runs left behind and imports nothing else of nlhf."""

from nlhf.analysis.load import load

__all__ = ["load"]
