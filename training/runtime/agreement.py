"""Ranks that agree: what decides the numbers is compared between them before any of them computes."""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from training.runtime.command import AgreedError

PACKAGES = ("training", "landscape", "analysis")  # whose code decides numbers
LIBRARIES = ("torch", "numpy", "scipy")
NAMED = 3  # ranks that a message names
LONGEST = 60  # characters of a value in a message


def agree(comm: Any | None, facts: Mapping[str, Any], remedy: str) -> None:
    """Raise AgreedError on all ranks, in one line that names ranks and facts, unless all have equal `facts`.

    Collective. `facts` are plain values by name, those of one rank in the same order as those of another.
    """
    if comm is None or comm.size == 1:
        return
    told = {name: json.dumps(value, sort_keys=True, default=str) for name, value in facts.items()}
    if len(set(comm.allgather(digest_of_text(told)))) == 1:
        return
    if difference := difference_of(comm.allgather(told)):
        raise AgreedError(f"{difference}; {remedy}")


def difference_of(told: Sequence[Mapping[str, str]]) -> str:
    """What the first rank that differs from rank 0 has else, and who shares it; "" if none differs."""
    for rank, facts in enumerate(told):
        if facts != told[0]:
            sharing = [other for other in range(len(told)) if told[other] == facts]
            names = [name for name in {**told[0], **facts} if facts.get(name) != told[0].get(name)]
            found = [f"{name} {_short(facts.get(name))} instead of {_short(told[0].get(name))}" for name in names]
            return f"{_ranks(sharing, rank)}: expected what rank 0 has, found {', '.join(found)}"
    return ""


def _ranks(sharing: Sequence[int], first: int) -> str:
    if len(sharing) == 1:
        return f"rank {first}"
    rest = f" and {len(sharing) - NAMED} more" if len(sharing) > NAMED else ""
    return f"ranks {', '.join(map(str, sharing[:NAMED]))}{rest}"


def _short(text: str | None) -> str:
    if text is None:
        return "none"
    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", text)  # a digest is told apart by its beginning
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def digest_of_text(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@cache
def code() -> dict[str, str]:
    """The code that computes, by name: a digest of this project's modules, and the versions of Python and libraries."""
    versions = {"Python": ".".join(map(str, sys.version_info[:3]))}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = "of no known version"
    return {"code": digest_of_files(modules_of(PACKAGES))[:12], **versions}


def modules_of(packages: Sequence[str]) -> list[tuple[str, Path]]:
    """Name and file of each module of `packages`, in order; the name is the path within the package's folder."""
    found = []
    for package in packages:
        spec = find_spec(package)
        for folder in (Path(place) for place in (spec and spec.submodule_search_locations) or ()):
            files = sorted(path for path in folder.rglob("*.py") if path.is_file())
            found += [(f"{package}/{path.relative_to(folder).as_posix()}", path) for path in files]
    return found


def digest_of_files(files: Sequence[tuple[str, Path]]) -> str:
    """SHA-256 over name and content of each file."""
    sha = hashlib.sha256()
    for name, path in files:
        content = path.read_bytes()
        sha.update(f"{name} {len(content)} ".encode() + content)
    return sha.hexdigest()
