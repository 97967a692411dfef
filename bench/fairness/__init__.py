"""Measure whether small jobs wait behind big ones, and what a big job costs."""
