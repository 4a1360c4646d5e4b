"""From a file of votes to standings and a report."""
