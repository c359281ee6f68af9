"""What a training step costs: counted, timed and predicted."""
