"""What every command line shares: parsing, one-line errors, exit statuses.

A command is `main(argv) -> None` wrapped by :func:`command`. Unusable input is raised as :class:`InputError` from a
`check_*` helper and ends as one line on stderr and exit status 2; a run that had to stop is a
:class:`RunError`, status 1, a file that could not be written among them. Any other exception is a bug and keeps its
traceback.
"""

import errno
import functools
import io
import os
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TypeVar

from training.runtime.kinds import kind_of, paths_of

T = TypeVar("T")


class InputError(ValueError):
    """Input that cannot be used. The message is one line: what, where, expected, found, remedy."""


class AgreedError(InputError):
    """Unusable input that all ranks raise in step: what one raises alone would leave the others waiting."""


class RunError(RuntimeError):
    """A run that could not go on, such as a loss that is not finite. The message is one line."""


class WriteError(RunError):
    """A file that could not be written. The message is one line that names it, not what it is called meanwhile."""


def launched_rank() -> int:
    """This process's rank as its launcher states it (MPICH, Open MPI, Slurm), 0 without one; needs no MPI."""
    for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def with_examples_apart(description: str) -> str:
    """`description` with each `Example: …`, and a command in the line after it, on an indented line of its own.

    The command line's help joins the lines of a paragraph, except where they are indented.
    """
    lines: list[str] = []
    inside = False
    for line in description.splitlines():
        is_next = inside and line.lstrip().startswith(("python -m ", "mpirun "))
        if line.startswith("Example: ") or is_next:
            heading = [] if inside else ["Examples:"] if not lines or not lines[-1] else ["", "Examples:"]
            lines += [*heading, "  " + line.removeprefix("Example: ").strip()]
            inside = True
        else:
            lines += ["", line] if inside and line else [line]
            inside = False
    return "\n".join(lines)


def parse(config: type[T], argv: Sequence[str] | None, prog: str, description: str) -> T:
    """Make `config` (a dataclass) from the command line; `--help` and wrong usage exit with 0 and 2."""
    import tyro

    options = _quiet_but_root(
        lambda: tyro.cli(
            config,
            prog=f"python -m {prog}",
            description=with_examples_apart(description),
            args=None if argv is None else list(argv),
            config=(tyro.conf.OmitArgPrefixes,),
        )
    )
    check_no_input(options)
    return options


def parse_one_of(
    choices: dict[str, Callable[..., Any]], argv: Sequence[str] | None, prog: str, description: str
) -> Any:
    """As :func:`parse`, for a command whose first word names one of `choices`."""
    import tyro

    options = _quiet_but_root(
        lambda: tyro.extras.subcommand_cli_from_dict(
            choices,
            prog=f"python -m {prog}",
            description=with_examples_apart(description),
            args=None if argv is None else list(argv),
            config=(tyro.conf.OmitArgPrefixes,),
        )
    )
    check_no_input(options)
    return options


def _quiet_but_root(cli: Callable[[], T]) -> T:
    """Run `cli`; under a launcher only rank 0 speaks, so that a mistyped option is answered once, not once a rank."""
    if launched_rank() == 0:
        return cli()
    with open(os.devnull, "w") as null, redirect_stdout(null), redirect_stderr(null):
        return cli()


def check_no_input(options: Any) -> None:
    """Raise InputError if the file `options.out` is one that the options also name to be read, by whatever name."""
    out = getattr(options, "out", None)
    if not isinstance(out, Path):
        return
    for path in paths_of(options):
        same = False
        with suppress(OSError, ValueError):  # what is not there, or no path, is answered where it is read
            same = out.is_file() and path.samefile(out)
        if same:
            raise InputError(f"--out {out}: expected another file than those read, found {path}; name another")


def check_out(path: Path, *kinds: str) -> None:
    """Raise InputError unless `path` names a file, there already or not, that a command may write.

    One that is there must be empty or, where `kinds` are given, of one of them: see :mod:`training.runtime.kinds`.
    """
    try:
        path.name.encode()
        usable = path.name != "" and (path.is_file() or not path.exists())
    except (OSError, ValueError):
        usable = False
    if not usable:
        raise InputError(f"--out {str(path)!r}: expected the name of a file, found a folder or no name for a file")
    check_replaceable(path, *kinds)


def check_replaceable(path: Path, *kinds: str) -> None:
    """Raise InputError if there is a file at `path` that is not one of `kinds`, or if a link is there."""
    if path.is_symlink():
        raise InputError(f"{path}: expected a file or none, found a link to {os.readlink(path)}; write to that itself")
    if not kinds or not path.exists():
        return
    try:
        found = kind_of(path)
    except OSError as error:
        raise InputError(
            f"{path}: expected a file that can be read, found {error.strerror}; write to another"
        ) from None
    if found and found not in kinds:
        raise InputError(
            f"{path}: expected no file, or {' or '.join(kinds)} to replace, found {found}; write to another file"
        )


def make_parent(path: Path, *kinds: str) -> None:
    """Make the folder that the file `path` will lie in; InputError if it cannot be, or as :func:`check_out`."""
    check_out(path, *kinds)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {path}: expected a folder that can be written, found {error.strerror}") from None


#: in the names of files that are not yet whole: this project's own, so that nobody else's is written over
TEMPORARY = ".landscape-new"
#: what a disk answers that has no room or cannot be reached, whatever a library makes of it
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE)


@contextmanager
def writing(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Raise WriteError, which names `path`, for what keeps it from being written, under the name `temporary` first.

    Errors that say which other file they are of, and all that no disk is behind, pass as they are.
    """
    try:
        yield
    except Exception as error:
        found = refusal_of(error)
        names = [name for name in (found.filename, found.filename2) if name is not None] if found else []
        if found is None or not all(str(name) in (str(path), str(temporary)) for name in names):
            raise
        reason = found.strerror or one_line(found)
        raise WriteError(
            f"{path}: expected a file that can be written, found {reason}; what was there before stays: see to that, "
            "and run the same command again"
        ) from None


def refusal_of(error: BaseException) -> OSError | None:
    """The answer of a disk that `error` is, or is made of; None if there is none behind it."""
    if isinstance(error, OSError):
        return error
    behind: BaseException | None = error
    while behind is not None and not isinstance(error, InputError | RunError):
        if isinstance(behind, OSError) and behind.errno in NO_ROOM:
            return behind
        behind = behind.__cause__ or behind.__context__
    return None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to it once it is on the disk, or removed if that fails.

    A file that is there is replaced by one of its kind alone, as what somebody else made is nobody's to replace;
    InputError if it is of another. Raises WriteError, naming `path`, if it cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{TEMPORARY}{path.suffix}")
    try:
        with writing(path, temporary):
            temporary.unlink(missing_ok=True)  # what a kill left, or a link, which would be followed
            yield temporary
            check_replaceable(path, kind_of(temporary))
            with temporary.open("rb") as written:
                os.fsync(written.fileno())  # some disks say only now that they are full
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str | bytes) -> None:
    """Write `text`, as UTF-8 on every machine, to `path`, whole or not at all; WriteError if that fails.

    What UTF-8 cannot say, a byte of a file's name that is none of it, is written as an escape, `\\udcff`.
    """
    content = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def unusable(path: Path, expected: str, error: Exception, remedy: str = "") -> InputError:
    """The InputError of a file that could not be read: absent, not to be opened (and why), or damaged."""
    found = "a damaged or foreign file"
    if isinstance(error, OSError) and error.strerror:
        found = "none" if isinstance(error, FileNotFoundError) else error.strerror
    return InputError(f"{path}: expected {expected}, found {found}{remedy and f'; {remedy}'}")


def printable(text: str) -> str:
    """`text` with its control characters written out, so that a file's words cannot command a terminal.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    controls = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs")} - {"\n", "\t"}
    return text.translate({ord(c): repr(c)[1:-1] for c in controls})


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, of the machine or of a GPU, for which torch raises RuntimeErrors."""
    if isinstance(error, RuntimeError):
        return "out of memory" in str(error) or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError)


def one_line(error: BaseException) -> str:
    """What an exception says, as the one line that a user is shown."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = (str(error) or type(error).__name__).splitlines()[0]
    return f"out of memory: {text}" if is_out_of_memory(error) else text


@contextmanager
def users_code() -> Iterator[None]:
    """Around calls of code that a user brings: what ends it keeps its frames, an OSError or SystemExit too.

    By itself an OSError is a file that a command could not use, one line, and a SystemExit the end that was asked for.
    """
    try:
        yield
    except (OSError, SystemExit) as error:
        error.__dict__["is_users"] = True
        raise


def is_users(error: BaseException) -> bool:
    """Whether `error` came out of :func:`users_code`."""
    return bool(error.__dict__.get("is_users"))


def command(main: Callable[[Sequence[str] | None], None]) -> Callable[..., int]:
    """Turn `main` into a command that returns an exit status: 0 done, 2 unusable input (one line on stderr)."""

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        # Threads that wait for each other sleep: spinning ones stall each other wherever something else runs too.
        # Read when torch is first imported, which commands do after this.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name that it cannot say ends nothing
        status = _status_of(main, argv)
        try:
            sys.stdout.flush()
        except OSError as error:
            # What is still unwritten would be tried, and complained about, once more at the interpreter's end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if status == 0:
                print(f"error: standard output: {one_line(error)}", file=sys.stderr)
                return 1
        return status

    return run


def _status_of(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None) -> int:
    """Run `main` to its end; the exit status, with one line on stderr where it is not 0."""
    try:
        main(argv)
    except InputError as error:
        if launched_rank() == 0:
            print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1
    except (OSError, SystemExit) as error:
        if is_users(error):
            traceback.print_exception(error)
            return 1
        if isinstance(error, SystemExit):
            raise
        print(f"error: {printable(one_line(error))}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
