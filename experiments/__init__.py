"""Questions with a record: sweeps of arms and seeds, and their reports."""
