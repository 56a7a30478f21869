"""Stories that run on the real server over loopback, with real clients."""
