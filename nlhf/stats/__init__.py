"""Statistics of arrays: bootstrap, comparisons of methods, cyclic preferences."""
