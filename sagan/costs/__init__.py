"""What training a config costs: work, seconds, memory, days."""
