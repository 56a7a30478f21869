//! Parley's media engine: encrypted RTP in once, out to everyone who asked.
