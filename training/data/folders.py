"""Data sets that are folders of image files: MVTec AD's layout, and any three folders.

MVTec AD (Bergmann et al., CVPR 2019): `<category>/train/good`, `<category>/test/<type>` with the normal type `good`,
and masks of the defects in `<category>/ground_truth/<type>`: that of the test image with the id `test/<type>/000.png`
is `ground_truth/<type>/000_mask.png`.
"""

from pathlib import Path

import numpy as np

from training.data.config import RunConfig
from training.data.images import SUFFIXES, RawSplit, decoded, image_names
from training.runtime.command import InputError

GOOD = "good"


def mvtec(config: RunConfig, folder: Path | None) -> RawSplit:
    """The category `config.category` of MVTec AD under `folder`; ids are paths relative to the category's folder.

    Raises InputError if it is not there or lacks training, normal or anomalous images.
    """
    root = category_folder(folder, config.category)
    train, test = root / "train" / GOOD, root / "test"
    train_names = image_names(train) if train.is_dir() else []
    if not train_names:
        raise InputError(f"{train}: expected normal images to train on, found none; unpack {config.category} again")
    types = {kind: image_names(test / kind) for kind in subfolders(test)}
    check_test_types(test, types)
    names = [f"{kind}/{name}" for kind, names in types.items() for name in names]
    classes = [kind for kind, names in types.items() for _ in names]
    return RawSplit(
        train=decoded(train, train_names, config.image_size, config.channels),
        test=decoded(test, names, config.image_size, config.channels),
        labels=np.array([kind != GOOD for kind in classes]),
        ids=[f"test/{name}" for name in names],
        classes=classes,
    )


def category_folder(folder: Path | None, category: str) -> Path:
    """`folder`/mvtec/`category` or `folder`/`category`; InputError says what is there, or how to get the data."""
    if folder is None:
        raise InputError(
            "--data-dir: expected the folder that holds mvtec/<category>/, found none; MVTec AD cannot be downloaded "
            "automatically: get it from https://www.mvtec.com/company/research/datasets/mvtec-ad (licence "
            "CC BY-NC-SA 4.0), unpack it, and pass --data-dir or set LANDSCAPE_DATA"
        )
    places = (folder / "mvtec", folder)
    present = sorted({name for place in places for name in subfolders(place) if (place / name / "train").is_dir()})
    for place in places:
        # Only a plain name is a category: "" and ".." would be folders too.
        if category in subfolders(place):
            return place / category
    found = f"the categories {', '.join(present)}" if present else "no category"
    raise InputError(f"--category: expected a folder mvtec/{category}/ or {category}/ in {folder}, found {found}")


def check_test_types(test: Path, types: dict[str, list[str]]) -> None:
    """Raise InputError unless the folder `test`, as type -> images, has normal and anomalous ones."""
    if not test.is_dir():
        raise InputError(f"{test}: expected a folder of test images, found none; unpack the category again")
    filled = [kind for kind, names in types.items() if names]
    if not filled:
        raise InputError(f"{test}: expected test images in {GOOD}/ and in a folder for each defect, found no image")
    if GOOD not in filled:
        raise InputError(f"{test / GOOD}: expected normal test images, found none beside {', '.join(filled)}")
    if filled == [GOOD]:
        raise InputError(f"{test}: expected anomalous test images in a folder for each defect, found only {GOOD}/")


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted; none if it does not exist. Hidden ones are left out."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def image_folders(config: RunConfig, _: Path | None) -> RawSplit:
    """Any images: those under train_dir, test_normal_dir and test_anomalous_dir, each with its subfolders.

    The three are paths of their own, not relative to the data folder; ids are relative to the one that the image is
    of. Raises InputError if one is missing or empty, or if an image is in both test folders.
    """
    train, normal, anomalous = (
        Path(path).expanduser() for path in (config.train_dir, config.test_normal_dir, config.test_anomalous_dir)
    )
    train_names = images_in("--train-dir", train)
    normal_names = images_in("--test-normal-dir", normal)
    anomalous_names = images_in("--test-anomalous-dir", anomalous)
    both = resolved(normal, normal_names) & resolved(anomalous, anomalous_names)
    if both:
        raise InputError(
            f"--test-anomalous-dir {anomalous}: expected images that are not in --test-normal-dir too, "
            f"found {len(both)} of them, such as {min(both)}"
        )
    size, channels = config.image_size, config.channels
    counts = (len(normal_names), len(anomalous_names))
    return RawSplit(
        train=decoded(train, train_names, size, channels),
        test=np.concatenate(
            [decoded(normal, normal_names, size, channels), decoded(anomalous, anomalous_names, size, channels)]
        ),
        labels=np.repeat([False, True], counts),
        ids=normal_names + anomalous_names,
        classes=["normal"] * counts[0] + ["anomalous"] * counts[1],
    )


def resolved(root: Path, names: list[str]) -> set[Path]:
    """Where the images `names` under `root` really are, links followed."""
    return {(root / name).resolve() for name in names}


def images_in(option: str, root: Path) -> list[str]:
    """Names of the images under `root`, with its subfolders; InputError if there is no such folder, or no image."""
    if not root.is_dir():
        raise InputError(f"{option} {root}: expected a folder of images, found no such folder")
    names = image_names(root, recursive=True)
    if not names:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise InputError(f"{option} {root}: expected images ({kinds}), found none")
    return names
