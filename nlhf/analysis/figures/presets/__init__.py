"""The figures of presets: presets/NAME.py draws the figure of conf/experiment/NAME.yaml."""
