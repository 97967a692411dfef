"""Attacks on a running Fathom, and a checker that trusts nothing that Fathom reports about itself."""
