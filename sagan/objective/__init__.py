"""What the networks minimise: the loss, and what can be added to it."""
