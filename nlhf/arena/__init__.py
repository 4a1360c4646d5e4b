"""The arena: policies play against each other under a judge."""
