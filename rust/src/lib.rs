//! The core of dispatch: what needs atomics on shared memory, or runs once per byte.
//!
//! Imports go down only:
//!
//! ```text
//!  py                                        conversions; the only modules that see Python
//!  simulate                                  virtual time around the engine
//!  engine | snapshot | judge                 acquire and settle; what metrics read; what a request is, and which rules hold
//!  select | learn                            strategies, one a file; routers learned from scores
//!  signal                                    what a prompt is
//!  limit | health | ring | maglev            one algorithm a file
//!  board | json | sse | http1 | tls          shared memory; bytes in, facts out
//!  units | rng | error | rs256              rs256: a signature
//! ```
//!
//! Nothing here reads a clock, draws from the system's randomness, waits, or calls back.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod board;
pub mod engine;
pub mod error;
pub mod health;
pub mod http1;
pub mod json;
pub mod judge;
pub mod learn;
pub mod limit;
pub mod maglev;
#[cfg(feature = "python")]
mod py;
pub mod ring;
pub mod rng;
pub mod rs256;
pub mod select;
pub mod signal;
pub mod simulate;
pub mod snapshot;
pub mod sse;
pub mod tls;
pub mod tokens;
pub mod units;
pub mod vectors;
