"""A cache of each test's own, and a count of decoded images."""

from pathlib import Path

import numpy as np
import pytest

from training.data import images


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and no data folder from outside."""
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LANDSCAPE_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images that were decoded, in order."""
    seen: list[Path] = []
    decode = images.decode

    def counted(path: Path, size: int, channels: int) -> np.ndarray:
        seen.append(path)
        return decode(path, size, channels)

    monkeypatch.setattr(images, "decode", counted)
    return seen
