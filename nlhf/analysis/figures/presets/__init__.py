"""The figure, question and caption of every preset: presets/NAME.py belongs to conf/experiment/NAME.yaml."""
