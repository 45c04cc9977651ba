"""HDF5 files from anywhere, opened as data: what they link to, unpack to or do to the HDF5 library is found out first.

HDF5 itself follows links to other files, takes values from them, unpacks a thousandfold, and on damaged bytes may crash
or never end. So a file is looked through by a forked process, which may die of it, before this one opens it: some
milliseconds. A fork inherits h5py, where a fresh process would take longer to import it than most files to read.
"""

import errno
import faulthandler
import os
import resource
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import h5py

from training.runtime.command import InputError

LARGEST_UNPACKED = 1 << 28  # bytes beyond the size of the file: what a minute would go into
MOST_OBJECTS = 10**6
MOST_TEXTS = 1000
DEEPEST = 64  # groups in groups; names of modules with dots in them are one
LONGEST_TEXT = 1 << 26  # bytes of an attribute
CPU_SECONDS = 3  # and a second for each 32 MB; sound files take a thousandth of it
WAIT_SECONDS = 60  # for a process that gets no processor; by itself no fault of the file


def open_untrusted(path: Path, expected: str) -> h5py.File:
    """Open an HDF5 file to read, without a lock, after it has been looked through. expected: such as "a grid file".

    Raises InputError if it is missing, cannot be opened, is damaged, or holds what is not followed: links, values in
    other files, virtual data sets, text or objects in great numbers, more than it could hold by itself.
    """
    check_file(path, expected)
    found = looked_through(path)
    if found:
        raise InputError(f"{path}: expected {expected}, found {found}; choose another")
    try:
        return h5py.File(path, "r", locking=False)
    except PermissionError as error:
        raise unreadable(path, expected, error) from None
    except OSError:
        raise InputError(f"{path}: expected {expected}, found a damaged or foreign file; choose another") from None


def check_file(path: Path, expected: str) -> None:
    """Raise InputError unless `path` is a regular file that may be read."""
    try:
        if not path.is_file():
            found = "none" if not path.exists() else "a folder" if path.is_dir() else "something that is no file"
            remedy = "; make one with python -m landscape.surface" if expected == "a grid file" else ""
            raise InputError(f"{path}: expected {expected}, found {found}{remedy}")
        with path.open("rb"):
            pass
    except OSError as error:
        raise unreadable(path, expected, error) from None


def unreadable(path: Path, expected: str, error: OSError) -> InputError:
    return InputError(f"{path}: expected {expected} that can be read, found {error.strerror}")


def looked_through(path: Path) -> str:
    """What is wrong with the HDF5 file `path`, in a few words, "" if nothing is; by a process that may die of it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _look_and_end(path, writer)
    os.close(writer)
    try:
        if not select.select([reader], [], [], WAIT_SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
            return ""  # it stands still, which no file makes a process do: see what CPU_SECONDS is for
        said = os.read(reader, 1000).decode(errors="replace")
    finally:
        os.close(reader)
        _, status = os.waitpid(pid, 0)
    return "" if said == "sound" else said or f"a damaged file, of which HDF5 dies ({_death(status)})"


def _death(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"status {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    return "it never ends" if number == signal.SIGXCPU else signal.Signals(number).name


def _look_and_end(path: Path, writer: int) -> NoReturn:
    """In the forked process: look, say what was found, end without what this process would do at its end."""
    try:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        seconds = CPU_SECONDS + (path.stat().st_size >> 25)
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        used = int(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, resource.RLIM_INFINITY))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        try:
            said = fault_of(path) or "sound"
        except OSError as error:
            denied = error.errno in (errno.EACCES, errno.EPERM)
            said = f"{os.strerror(error.errno or 0)}" if denied else "a damaged or foreign file"
        except Exception:
            said = "a damaged or foreign file"
        os.write(writer, said.encode(errors="replace")[:1000])
    finally:
        os._exit(0)


def fault_of(path: Path) -> str:
    """Look through all of an HDF5 file: what in it is not followed, or is too much; "" if nothing is."""
    unpacked = 0
    most = path.stat().st_size + LARGEST_UNPACKED
    with h5py.File(path, "r", locking=False) as file:
        if any(len(str(value)) > LONGEST_TEXT for value in dict(file.attrs).values()):
            return f"an attribute of more than {LONGEST_TEXT} bytes"
        for number, item in enumerate(_objects(file.id)):
            if isinstance(item, str):
                return item
            if number >= MOST_OBJECTS:
                return f"more than {MOST_OBJECTS} objects"
            if not isinstance(item, h5py.h5d.DatasetID):
                continue
            kind = item.get_type()
            count = item.get_space().get_simple_extent_npoints()
            unpacked += count * kind.get_size()
            if unpacked > most:
                return f"data sets that unpack to more than {most} bytes"
            if found := _fault_of_data(item, kind, count):
                return found
    return ""


def _objects(root: Any) -> Iterator[Any]:
    """The identifiers of groups and data sets, each once, or in place of one what it is instead, in words.

    By HDF5's own calls: h5py's objects take ten times as long to make, and a file may have hundreds of directions.
    """
    seen, waiting = set(), [(root, 0)]
    while waiting:
        group, depth = waiting.pop()
        if depth > DEEPEST:
            yield f"groups in groups more than {DEEPEST} deep"
            return
        for name in group:
            if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                yield f"a link to another place or file ({name.decode(errors='replace')!r:.80}), which is not followed"
                return
            item = h5py.h5o.open(group, name)
            address = h5py.h5o.get_info(item).addr
            if address not in seen:
                seen.add(address)
                yield item
                if isinstance(item, h5py.h5g.GroupID):
                    waiting.append((item, depth + 1))


def _fault_of_data(dataset: Any, kind: Any, count: int) -> str:
    """What is wrong with a data set. One in chunks is read as a whole, as its parts may be damaged or packed."""
    creation = dataset.get_create_plist()
    layout = creation.get_layout()
    if layout == h5py.h5d.VIRTUAL or (layout == h5py.h5d.CONTIGUOUS and creation.get_external_count()):
        return "values that are in another file, which is not followed"
    numbers = kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
    if not numbers and count > MOST_TEXTS:
        return f"more than {MOST_TEXTS} texts or objects where numbers are expected"
    if layout == h5py.h5d.CHUNKED or not numbers:
        h5py.Dataset(dataset)[()]
    if h5py.h5a.exists(dataset, b"order"):  # of a direction's parameter
        order = h5py.h5a.open(dataset, b"order").get_type().get_class()
        return "" if order == h5py.h5t.INTEGER else "directions without an order"
    return ""
