"""The arena: policies play each other under a judge, which is again a preference game."""
