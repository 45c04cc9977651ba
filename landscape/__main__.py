"""`python -m landscape`, or `landscape`: all commands by what one wants to do, and a way to run each."""

import sys
from pathlib import Path

from training.runtime.listing import PURPOSES, run_or_list


def main() -> int:
    is_module = Path(sys.argv[0]).name == "__main__.py"
    return run_or_list(tuple(PURPOSES), "python -m landscape" if is_module else "landscape")


if __name__ == "__main__":
    raise SystemExit(main())
