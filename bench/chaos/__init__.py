"""Attacks on a running Fathom, and a judge that believes nothing Fathom says of itself."""
