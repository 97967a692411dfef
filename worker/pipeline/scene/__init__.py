"""A photo and its depth as a scene in space: a camera, points before it, and what lies behind edges."""
