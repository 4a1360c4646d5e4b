"""Statistics of arrays: intervals, tests, curves, calibration and cyclic preferences."""
