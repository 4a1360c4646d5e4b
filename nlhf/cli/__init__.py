"""The commands. Only this package and `nlhf.interface` combine composing configs, drawing and printing."""
