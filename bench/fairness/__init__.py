"""Whether small jobs wait behind big ones, and what a big one costs."""
