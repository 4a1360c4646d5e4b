"""From a file of votes to a ranking and a report."""
