//! Parley's media engine: encrypted RTP in once, out to everyone who asked.

#![deny(unsafe_code)]

pub mod media;
pub mod spec;
pub mod srtp;
