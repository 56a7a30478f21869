//! The Python face of `parley-sfu`: queues, no decisions.
