//! Every way a call on the engine can be refused, in one tree.

use std::fmt;
use std::io;

/// Why a call on the engine was refused. Nothing has changed when one is returned.
#[derive(Debug)]
pub enum Error {
    /// The command queue is full; the same call may succeed once the shard has caught up.
    Busy {
        /// How many commands may wait.
        limit: usize,
    },
    /// The engine has been closed.
    Closed,
    /// As many transports exist as the configuration allows.
    TooManyTransports {
        /// The configured number.
        limit: usize,
    },
    /// As many transports exist in the group as the configuration allows.
    TooManyInGroup {
        /// The configured number.
        limit: usize,
    },
    /// As many handshakes are in progress as the configuration allows.
    TooManyPending {
        /// The configured number.
        limit: usize,
    },
    /// A value in the configuration cannot work.
    Config {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused something at start: a port in use, no permission.
    Start {
        /// What was attempted.
        attempt: String,
        /// What the system said.
        source: io::Error,
    },
    /// A data channel was asked for with values RFC 8832 does not allow.
    Channel {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A channel passes on to as many others as it may.
    TooManyLinks {
        /// The engine's number.
        limit: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Busy { limit } => write!(f, "engine busy: {limit} commands are waiting"),
            Error::Closed => write!(f, "engine closed"),
            Error::TooManyTransports { limit } => {
                write!(f, "no more transports: {limit} of {limit} exist")
            }
            Error::TooManyInGroup { limit } => {
                write!(
                    f,
                    "no more transports in this group: {limit} of {limit} exist"
                )
            }
            Error::TooManyPending { limit } => {
                write!(f, "no more handshakes: {limit} of {limit} are in progress")
            }
            Error::Config { field, reason } => write!(f, "engine configuration {field}: {reason}"),
            Error::Start { attempt, source } => {
                write!(f, "engine start: {attempt} failed: {source}")
            }
            Error::Channel { reason } => write!(f, "data channel: {reason}"),
            Error::TooManyLinks { limit } => {
                write!(f, "no more links of this channel: {limit} of {limit} exist")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Start { source, .. } => Some(source),
            _ => None,
        }
    }
}
