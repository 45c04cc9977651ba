"""`python -m training`: what commands there are, and a way to run each."""

from training.runtime.listing import run_or_list


def main() -> int:
    return run_or_list(("training",), "python -m training")


if __name__ == "__main__":
    raise SystemExit(main())
