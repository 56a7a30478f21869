//! Parley's media engine: encrypted RTP in once, out to everyone who asked.

#![deny(unsafe_code)]

pub mod spec;
