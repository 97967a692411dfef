"""Depth inside photos: read it where a phone stored it, and store it for viewers."""
