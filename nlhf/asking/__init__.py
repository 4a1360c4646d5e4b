"""Rules that choose the pairs of items to vote on next."""
