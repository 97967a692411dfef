"""Every official network in Fathom against its authors' own loop, in one run on one core."""
