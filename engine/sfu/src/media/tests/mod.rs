//! Whole transports against test peers that seal and open SRTP, in virtual time.

mod cost;
mod feedback;
mod forwarding;
mod layers;
mod peers;
mod repair;
mod rig;
mod sections;
