"""One writer at a time: a lock that ends with its process, beside the file or in the folder that it is for.

It is an `flock` on a file whose name and first words are this project's own. A file of that name that is anybody
else's, or a link, is neither emptied nor removed, but refused. What a kill leaves of it is taken by the next writer.
"""

import errno
import fcntl
import hashlib
import os
import socket
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from training.runtime.command import InputError

SUFFIX = ".landscape-lock"
FIRST_WORDS = b"landscape lock: "
LONGEST_NAME = 255  # bytes, of most file systems
LOOKS, PAUSE = 5, 0.05  # who looks whether there is a writer (`writer_of`) holds the lock for an instant
#: what a file system answers that has no locks, as some mounts of Lustre
WITHOUT_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Identity(NamedTuple):
    """What tells one file from another."""

    device: int
    inode: int


class Lock:
    """Holds `target`, a file (there already or not) or a folder, against other writers, until `release` or its end.

    Raises InputError if another process holds it, if its folder cannot be written, or if a file of the lock's name is
    not a lock. Where the file system knows no locks, it says so on stderr and holds nothing.
    """

    def __init__(self, target: Path):
        self.path = lock_path(target)
        for left in reversed(range(LOOKS)):
            self.file = _open(self.path, target)
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _said(self.file) or "another process"
                os.close(self.file)
                if not left:
                    raise InputError(
                        f"{target}: expected no other writer, found {holder}; wait or choose another --out"
                    ) from None
                time.sleep(PAUSE)
                continue
            except OSError as error:
                if error.errno not in WITHOUT_LOCKS:
                    os.close(self.file)
                    raise
                print(
                    f"note: {target}: this file system has no locks, so no second run is kept out; do not start one",
                    file=sys.stderr,
                )
            if _identity(self.path) == _identity(self.file):
                break
            os.close(self.file)  # its holder removed it between our opening and locking it
        else:
            raise InputError(f"{target}: expected to lock it, found {self.path} replaced again and again; start again")
        _say(self.file, f"process {os.getpid()} on {socket.gethostname()}: {' '.join(sys.argv)}\n")

    def release(self) -> None:
        """Remove the file, if it is still this one, and let others write."""
        with suppress(OSError):
            if _identity(self.path) == _identity(self.file):
                self.path.unlink()
        with suppress(OSError):
            os.close(self.file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_path(target: Path) -> Path:
    """Where the lock of `target` lies: in a folder, or beside a file, of a link beside what it points to."""
    real = Path(os.path.realpath(target))
    if real.is_dir():
        return real / SUFFIX
    name = f".{real.name}{SUFFIX}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(real.name)).hexdigest()[:24]}{SUFFIX}"
    return real.with_name(name)


def writer_of(target: Path) -> str | None:
    """Who holds the lock of `target` now: process, host and command line; None if nobody does, or none can be told."""
    try:
        file = os.open(lock_path(target), os.O_RDONLY | FLAGS)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _said(file)
    except OSError:
        return None
    finally:
        os.close(file)
    return None


def _open(path: Path, target: Path) -> int:
    """The lock's file, made if it is not there; InputError if that cannot be, or it is another's."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | FLAGS, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _foreign(path, target) from None
        raise InputError(f"{target}: expected a folder that can be written, found {error.strerror}") from None
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1 or (about.st_size and _said(file) is None):
        os.close(file)
        raise _foreign(path, target)
    return file


def _foreign(path: Path, target: Path) -> InputError:
    return InputError(
        f"{target}: expected {path} to be its lock, found a link or another's file of this name; move that, or choose "
        "another --out"
    )


def _say(file: int, text: str) -> None:
    """Have a lock's file say who holds it; on a full disk it holds all the same, without a name."""
    words = FIRST_WORDS + text.encode("utf-8", "backslashreplace")
    os.ftruncate(file, 0)
    with suppress(OSError):
        if os.write(file, words) == len(words):
            return
    os.ftruncate(file, 0)


def _said(file: int) -> str | None:
    """What a lock's holder wrote into it, on one line that a terminal can show; None if it is no lock's file."""
    with suppress(OSError):
        text = os.pread(file, 2000, 0)
        if text.startswith(FIRST_WORDS):
            said = text.removeprefix(FIRST_WORDS).decode(errors="replace").strip()
            return "".join(letter if letter.isprintable() else "?" for letter in said)
    return None


def _identity(file: Path | int) -> Identity | None:
    with suppress(OSError):
        about = os.stat(file, follow_symlinks=False) if isinstance(file, Path) else os.fstat(file)
        return Identity(about.st_dev, about.st_ino)
    return None
