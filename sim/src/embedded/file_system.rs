//! The simulated disk as SQLite sees it: a file system of its own kind ("VFS"), registered once for the whole program.
//!
//! Files are on the [`FaultyStorage`] of the run, so that what is not synced can be lost, torn or refused in every
//! operation. Locks and the index of the write-ahead log are memory that the connections of one program share; a program
//! that ends has none. Which disk a path is on is a matter of the thread: a run has one thread, and the paths of all runs
//! are the same.
//!
//! SQLite asks for a table of C functions, <https://sqlite.org/c3ref/vfs.html>. This file is the only one that is unsafe:
//! each function below takes the pointers that SQLite's contract says it gets, turns them into Rust, and calls what is
//! safe.
#![expect(unsafe_code, reason = "SQLite takes a file system as a table of C functions")]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::{Arc, Once};

use rusqlite::ffi;
use tidegate_store::SimulatedFiles;

use super::volume::{Handle, Volume};

/// The name that it is registered under.
pub(crate) const NAME: &str = "tidegate-simulated";
/// The same for the store.
pub(crate) const FILES: SimulatedFiles = SimulatedFiles { name: NAME, write_again };
const C_NAME: &CStr = c"tidegate-simulated";

/// The longest path in bytes.
const MAX_PATH: c_int = 256;

/// What a database file may assume of the medium: a write changes nothing beside its own bytes, as SQLite takes it for on
/// Unix.
const CHARACTERISTICS: c_int = ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE;

/// As SQLite takes it for on Unix.
const SECTOR_BYTES: c_int = 4096;

thread_local! {
    static VOLUME: RefCell<Option<Arc<Volume>>> = const { RefCell::new(None) };
}

/// Says which disk the files are on that this thread opens from now on.
pub(crate) fn mount(volume: Option<Arc<Volume>>) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        let system = Box::leak(Box::new(file_system()));
        // SAFETY: the table lives for ever, and its functions keep SQLite's contract.
        let done = unsafe { ffi::sqlite3_vfs_register(system, 0) };
        assert_eq!(done, ffi::SQLITE_OK, "SQLite takes a file system");
    });
    VOLUME.set(volume);
}

fn mounted() -> Option<Arc<Volume>> {
    VOLUME.with_borrow(Clone::clone)
}

fn write_again(path: &Path) -> io::Result<()> {
    mounted().ok_or_else(|| io::Error::other("nothing is mounted"))?.write_again(path)
}

/// An open file as SQLite keeps it: its memory, our content.
#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    handle: *mut Handle,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

fn file_system() -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<OpenFile>() as c_int,
        mxPathname: MAX_PATH,
        pNext: null_mut(),
        zName: C_NAME.as_ptr(),
        pAppData: null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time_millis),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

/// The answer of an operation, with SQLite's code for its failure.
fn code(done: io::Result<()>, failure: c_int) -> c_int {
    match done {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) if error.kind() == io::ErrorKind::StorageFull => ffi::SQLITE_FULL,
        Err(_) => failure,
    }
}

/// A text of SQLite's.
///
/// # Safety
/// `text` is null or ends in a null byte.
unsafe fn path<'a>(text: *const c_char) -> Option<&'a Path> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as said above.
    unsafe { CStr::from_ptr(text) }.to_str().ok().map(Path::new)
}

/// The content of an open file.
///
/// # Safety
/// `file` was opened by [`open`] and is not closed.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Handle {
    // SAFETY: `open` has put it there, and SQLite uses a file on one thread at a time.
    unsafe { &mut *(*file.cast::<OpenFile>()).handle }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let file = file.cast::<OpenFile>();
    // SAFETY: SQLite has as much memory there as `szOsFile` says. Without methods nobody closes the file.
    unsafe { (*file).base.pMethods = null() };
    let Some(volume) = mounted() else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: SQLite's names are texts, or null for a temporary file.
    let name = unsafe { path(name) };
    let Ok(handle) = volume.open(name, flags) else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: as above; `out_flags` may be null.
    unsafe {
        (*file).handle = Box::into_raw(Box::new(handle));
        (*file).base.pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: `open` has made it, and it is closed once.
    drop(unsafe { Box::from_raw((*file.cast::<OpenFile>()).handle) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite has `len` bytes of room there.
    let into =
        unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), usize::try_from(len).unwrap_or(0)) };
    // SAFETY: the file is open.
    match unsafe { handle(file) }.read(offset.cast_unsigned(), into) {
        Ok(read) if read == into.len() => ffi::SQLITE_OK,
        Ok(read) => {
            into[read..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite has `len` bytes there.
    let from = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), usize::try_from(len).unwrap_or(0)) };
    // SAFETY: the file is open.
    code(unsafe { handle(file) }.write(offset.cast_unsigned(), from), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { handle(file) }.set_len(len.cast_unsigned()), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { handle(file) }.sync(), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let Ok(len) = unsafe { handle(file) }.len() else { return ffi::SQLITE_IOERR_FSTAT };
    // SAFETY: SQLite wants it there.
    unsafe { *size = len.cast_signed() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    if unsafe { handle(file) }.lock(level) { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { handle(file) }.unlock(level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, answer: *mut c_int) -> c_int {
    // SAFETY: the file is open, and SQLite wants the answer there.
    unsafe { *answer = c_int::from(handle(file).is_reserved()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    SECTOR_BYTES
}

unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    CHARACTERISTICS
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extends: c_int,
    at: *mut *mut c_void,
) -> c_int {
    let (Ok(region), Ok(bytes)) = (usize::try_from(region), usize::try_from(bytes)) else {
        return ffi::SQLITE_IOERR_SHMMAP;
    };
    // SAFETY: the file is open.
    let memory = unsafe { handle(file) }.memory(region, bytes, extends != 0);
    // SAFETY: SQLite wants the address there; null when there is no such region yet.
    unsafe { *at = memory.map_or(null_mut(), <*mut u64>::cast) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: the file is open.
    if unsafe { handle(file) }.lock_memory(offset, count, flags) { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
}

unsafe extern "C" fn shm_barrier(_: *mut ffi::sqlite3_file) {}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _deletes: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { handle(file) }.unmap_memory();
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, syncs_dir: c_int) -> c_int {
    let Some(volume) = mounted() else { return ffi::SQLITE_IOERR_DELETE };
    // SAFETY: SQLite's names are texts.
    let Some(name) = (unsafe { path(name) }) else { return ffi::SQLITE_IOERR_DELETE };
    match volume.delete(name, syncs_dir != 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => ffi::SQLITE_IOERR_DELETE_NOENT,
        deleted => code(deleted, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    answer: *mut c_int,
) -> c_int {
    let Some(volume) = mounted() else { return ffi::SQLITE_IOERR_ACCESS };
    // SAFETY: SQLite's names are texts.
    let Some(Ok(exists)) = (unsafe { path(name) }).map(|name| volume.has(name)) else {
        return ffi::SQLITE_IOERR_ACCESS;
    };
    // SAFETY: SQLite wants the answer there.
    unsafe { *answer = c_int::from(exists) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    into: *mut c_char,
) -> c_int {
    // SAFETY: SQLite's names are texts.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| bytes.len() > room) {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: there is room for it, as was checked.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), into, bytes.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, len: c_int, into: *mut c_char) -> c_int {
    // SAFETY: SQLite has `len` bytes of room there.
    unsafe { std::ptr::write_bytes(into, 0x5a, usize::try_from(len).unwrap_or(0)) };
    len
}

/// Only one thread knows the disk, so waiting for a lock helps nobody.
unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    micros
}

/// The store asks SQLite for no time.
unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, at: *mut f64) -> c_int {
    // SAFETY: SQLite wants it there.
    unsafe { *at = 0.0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time_millis(_: *mut ffi::sqlite3_vfs, at: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite wants it there.
    unsafe { *at = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}
