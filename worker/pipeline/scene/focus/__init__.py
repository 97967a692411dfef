"""A scene as a wide aperture sees it."""
