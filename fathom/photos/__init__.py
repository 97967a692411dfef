"""Which files are photos, and what of an album is passed over: one rule for client and server."""
