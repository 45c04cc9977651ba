"""`python -m analysis`: what commands there are, and a way to run each."""

from training.runtime.listing import run_or_list


def main() -> int:
    return run_or_list(("analysis",), "python -m analysis")


if __name__ == "__main__":
    raise SystemExit(main())
