"""From the bytes of a picture to the files of its depth: decode, infer, colour, encode."""
