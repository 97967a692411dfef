"""Read TIFF by what its directory says: a library that guesses the layout fails silently."""
