"""A scene as a second eye sees it."""
