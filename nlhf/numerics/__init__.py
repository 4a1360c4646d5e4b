"""Log-probabilities, random streams and the Bradley-Terry model: functions of arrays and tensors."""
