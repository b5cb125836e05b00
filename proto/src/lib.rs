//! The wire: what is said ([`v1`], [`convert`]), and how it is secured ([`tls`]).
//!
//! Wire types end at the handlers: [`convert`] turns them into `model` nouns and back, and what it can't take it
//! names as a [`violation`]. What the daemons tell the machine's service manager is here too, for both do: [`supervision`].

pub mod convert;
pub mod supervision;
pub mod tls;
pub mod violation;

/// The version of the session protocol that this code speaks.
pub const SESSION_PROTOCOL: u32 = 1;

/// The largest message that either side takes, in bytes; larger things go in chunks.
pub const MAX_MESSAGE: usize = 8 << 20;

/// The size of a chunk of a plan or an archive, in bytes (DEPS.md: 256 KiB streams well under HTTP/2 windows).
pub const CHUNK: usize = 256 << 10;

/// The generated wire types and services.
#[allow(missing_debug_implementations, unreachable_pub, clippy::all, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("imgctl.v1");
}
