//! How a worker that waits for a place hears that one is free: each has a descriptor that it sleeps on, and all may write to each.
//!
//! An `eventfd` or a pipe, not blocking, made by whoever starts the workers. A board without bells is silent: those who wait look for
//! themselves now and then.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::RawFd;

use super::{Board, region};

/// What is written: an `eventfd` takes eight bytes, a number that is not 0.
const RING: [u8; 8] = 1u64.to_ne_bytes();

impl Board {
    /// Takes the descriptors to write to, one for each worker. They are duplicated.
    ///
    /// # Errors
    /// When one is no descriptor, or there are bells already.
    pub fn hang_bells(&self, fds: &[RawFd]) -> io::Result<()> {
        let bells = fds.iter().map(|fd| region::duplicate(*fd).map(File::from)).collect::<io::Result<_>>()?;
        self.bells.set(bells).map_err(|_| io::Error::new(io::ErrorKind::AlreadyExists, "the board has bells already"))
    }

    /// Wakes a worker. What cannot be written is a bell that rings already, or one whose worker is gone.
    pub(crate) fn ring_bell(&self, worker: usize) {
        if let Some(mut bell) = self.bells.get().and_then(|bells| bells.get(worker)) {
            let _unheard = bell.write(&RING);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::board::Sizes;

    #[test]
    fn a_bell_rings_at_the_worker_that_it_belongs_to() {
        let board = Board::heap(Sizes {
            workers: 2,
            endpoints: 1,
            keys: 1,
            models: 1,
            pairs: 1,
            pools: 1,
            users: 0,
            sessions: 0,
        })
        .unwrap();
        board.ring_bell(0);
        let (pipes, writers): (Vec<PipeReader>, Vec<_>) = (0..2).map(|_| io::pipe().unwrap()).unzip();
        board.hang_bells(&[writers[0].as_raw_fd(), writers[1].as_raw_fd()]).unwrap();
        board.ring_bell(1);
        board.ring_bell(7);

        let mut heard = [0; 8];
        (&pipes[1]).read_exact(&mut heard).unwrap();
        assert_eq!(heard, RING);
        assert!(board.hang_bells(&[]).is_err());
        assert!(board.hang_bells(&[-1]).is_err());
    }
}
