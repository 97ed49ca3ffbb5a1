//! The memory under the board: on the heap for one process, mapped from an unnamed file for several.
//!
//! The only module with `unsafe`. What it hands out is a slice of cache lines made of atomics, so that everything above it
//! is ordinary safe Rust, whatever other processes do to the same bytes.
#![expect(unsafe_code, reason = "maps memory, and views one line as sixteen u32 or eight u64")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// One cache line, which is either sixteen narrow or eight wide cells: each line of the layout is one of the two for ever.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Line {
    cells: [AtomicU64; 8],
}

const _: () = assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);

impl Line {
    /// As eight u64: state words and counters.
    #[must_use]
    pub const fn wide(&self) -> &[AtomicU64; 8] {
        &self.cells
    }

    /// As sixteen u32: one held quantity, one column per worker.
    #[must_use]
    pub const fn narrow(&self) -> &[AtomicU32; 16] {
        // SAFETY: same size, the alignment is greater than needed, and both are valid for every bit pattern.
        unsafe { &*std::ptr::from_ref(&self.cells).cast::<[AtomicU32; 16]>() }
    }
}

/// Lines that live as long as this value.
pub struct Region {
    start: NonNull<Line>,
    count: usize,
    origin: Origin,
}

/// Where the memory comes from, and goes to in the end.
enum Origin {
    Heap,
    /// Mapped, of this process only.
    Private,
    /// The mapped file.
    File(OwnedFd),
}

// SAFETY: the memory is made of atomics only, and is given back by its one owner.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// `count` zeroed lines for this process.
    #[must_use]
    pub fn heap(count: usize) -> Self {
        let lines: Box<[Line]> = (0..count).map(|_| Line::default()).collect();
        Self { start: NonNull::from(Box::leak(lines)).cast(), count, origin: Origin::Heap }
    }

    /// `count` zeroed lines for this process, which cost no memory before they are written.
    ///
    /// # Errors
    /// What the system says: no memory.
    pub fn private(count: usize) -> io::Result<Self> {
        let start = mapped(count, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
        Ok(Self { start, count, origin: Origin::Private })
    }

    /// `count` zeroed lines in a new unnamed file, whose size cannot change any more where the system can promise that.
    ///
    /// # Errors
    /// What the system says: no memory, no descriptors.
    pub fn shared(count: usize) -> io::Result<Self> {
        let file = unnamed_file()?;
        file.set_len((count * size_of::<Line>()) as u64)?;
        seal(&file)?;
        Self::map(file.into(), count)
    }

    /// The lines of an open file, whose descriptor is duplicated.
    ///
    /// # Errors
    /// When the file can still shrink under the mapping (which would kill the reader), has no whole line, or cannot be mapped.
    pub fn attach(fd: RawFd) -> io::Result<Self> {
        let file = duplicate(fd)?;
        check_seals(&file)?;
        let length = File::from(file.try_clone()?).metadata()?.len();
        let count = usize::try_from(length).unwrap_or(0) / size_of::<Line>();
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shorter than one line"));
        }
        Self::map(file, count)
    }

    /// The lines.
    #[must_use]
    pub const fn lines(&self) -> &[Line] {
        // SAFETY: `count` lines, aligned, stand at `start` until drop.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }

    /// The descriptor of the file, -1 for the heap.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        if let Origin::File(file) = &self.origin { file.as_raw_fd() } else { -1 }
    }

    fn map(file: OwnedFd, count: usize) -> io::Result<Self> {
        let start = mapped(count, libc::MAP_SHARED, file.as_raw_fd())?;
        Ok(Self { start, count, origin: Origin::File(file) })
    }
}

/// A new mapping of so many lines.
fn mapped(count: usize, flags: libc::c_int, fd: RawFd) -> io::Result<NonNull<Line>> {
    let (length, protection) = (count * size_of::<Line>(), libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a new mapping at an address of the kernel's choice; the result is checked.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Origin::Heap = self.origin {
            // SAFETY: the box that `heap` leaked, once.
            drop(unsafe { Box::from_raw(NonNull::slice_from_raw_parts(self.start, self.count).as_ptr()) });
        } else {
            // SAFETY: unmaps what `mapped` mapped, once.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * size_of::<Line>()) };
        }
    }
}

/// Another descriptor for the same file, owned by the caller.
///
/// # Errors
/// When the number names no open file.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file descriptor"));
    }
    // SAFETY: borrowed for the call only; a number that names no open file makes it fail with EBADF.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

#[cfg(target_os = "linux")]
fn unnamed_file() -> io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a C string; the result is checked before it is owned.
    let fd = unsafe { libc::memfd_create(c"dispatch-board".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(not(target_os = "linux"))]
fn unnamed_file() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    for attempt in 0..100u32 {
        let path = std::env::temp_dir().join(format!("dispatch-board-{}-{attempt}", std::process::id()));
        match File::options().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return std::fs::remove_file(&path).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no free name for the board's file"))
}

#[cfg(target_os = "linux")]
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;

#[cfg(target_os = "linux")]
fn seal(file: &File) -> io::Result<()> {
    // SAFETY: plain integers on an owned descriptor.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS | libc::F_SEAL_SEAL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(target_os = "linux")]
fn check_seals(file: &OwnedFd) -> io::Result<()> {
    // SAFETY: plain integers on an owned descriptor.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    if seals < 0 || seals & SEALS != SEALS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not sealed against shrinking and growing"));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn seal(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn check_seals(_: &OwnedFd) -> io::Result<()> {
    Ok(())
}
