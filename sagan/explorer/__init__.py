"""The explorer: a page that draws a run's images, and what serves it."""
