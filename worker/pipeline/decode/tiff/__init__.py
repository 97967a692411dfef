"""TIFF, read by what its directory says: a library that guesses at samples is wrong without a word."""
