"""A scene as a moving camera sees it."""
