"""From a photo's bytes to its depth maps: decode, infer, upsample, colour, encode."""
