"""Games: what answers preference queries."""
