"""Data sets against files built by hand: every layout, every error by its message, downloads from a local server."""

import dataclasses
import functools
import gzip
import hashlib
import os
import re
import shutil
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import ROOT
from training import make_mnist_mini
from training.data import images, mnist
from training.data.config import RunConfig, resolve
from training.data.splits import DATASETS, data_folder, load_split
from training.runtime.command import InputError

FULL_DATA = os.environ.get("LANDSCAPE_DATA", "")
full_mnist = pytest.mark.skipif(
    not any((Path(FULL_DATA) / layout).is_dir() for layout in mnist.LAYOUTS) or not FULL_DATA,
    reason="LANDSCAPE_DATA names no folder with the full MNIST",
)
BOTTLE = next((p for p in (Path(FULL_DATA, "mvtec", "bottle"), Path(FULL_DATA, "bottle")) if p.is_dir()), None)
full_bottle = pytest.mark.skipif(
    not FULL_DATA or BOTTLE is None, reason="LANDSCAPE_DATA names no folder with MVTec AD's bottle"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and no data folder from outside."""
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LANDSCAPE_DATA", raising=False)
    return tmp_path / "cache"


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of `folder` and of all in it; changes with anything written there."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")]}


def fails(message: str, config: RunConfig, data_dir: Path | None = None) -> None:
    """The data set cannot be loaded, and says why in one line."""
    with pytest.raises(InputError, match=message) as caught:
        load_split(config, data_dir and str(data_dir))
    assert "\n" not in str(caught.value)


# --- MNIST -----------------------------------------------------------------------------------------------------------

TRAIN_LABELS = [3, 1, 3, 0, 5, 3]
TEST_LABELS = [3, 2, 9, 3]
MNIST = resolve(RunConfig(dataset="mnist", normal=3))


def idx(values: bytes, *shape: int, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + values


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def mnist_files() -> dict[str, bytes]:
    """A small MNIST: the four IDX files by name, plain."""
    return {
        "train-images-idx3-ubyte": idx(pixels(6, 1).tobytes(), 6, 28, 28),
        "train-labels-idx1-ubyte": idx(bytes(TRAIN_LABELS), 6),
        "t10k-images-idx3-ubyte": idx(pixels(4, 2).tobytes(), 4, 28, 28),
        "t10k-labels-idx1-ubyte": idx(bytes(TEST_LABELS), 4),
    }


def write_mnist(folder: Path, zipped: bool = False, **changed: bytes) -> Path:
    """Write the small MNIST to `folder`; `changed` replaces contents, by a name's first two words joined by `_`."""
    folder.mkdir(parents=True)
    for name, content in mnist_files().items():
        content = gzip.compress(content) if zipped else content
        content = changed.get("_".join(name.split("-")[:2]), content)
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("layout", ["mnist", "MNIST/raw"])
def test_mnist_holds_the_pixels_that_were_written(tmp_path: Path, layout: str, zipped: bool) -> None:
    write_mnist(tmp_path / "data" / layout, zipped)
    before = snapshot(tmp_path / "data")
    split = load_split(MNIST, str(tmp_path / "data"))

    assert split.train.shape == (3, 1, 32, 32)
    assert split.test.shape == (4, 1, 32, 32)
    assert split.train.dtype == split.test.dtype == torch.float32
    assert split.labels.tolist() == [False, True, True, False]
    assert split.labels.dtype == bool
    assert split.ids == ["0", "1", "2", "3"]
    assert split.classes == ["3", "2", "9", "3"]
    # Pixel by pixel, in another way than the code's: 28 rows and columns from the third on, the rest zero.
    for image, source in zip(split.train, (0, 2, 5), strict=True):
        for row in range(32):
            for column in range(32):
                inside = 2 <= row < 30 and 2 <= column < 30
                value = int(pixels(6, 1)[source, row - 2, column - 2]) if inside else 0
                assert image[0, row, column].item() == pytest.approx(value / 255, abs=1e-7)
    assert torch.equal(split.test[:, 0, 2:30, 2:30], torch.from_numpy(pixels(4, 2)).float() / 255)
    assert snapshot(tmp_path / "data") == before


def test_mnist_at_another_size_is_padded_on_all_sides(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist")
    split = load_split(dataclasses.replace(MNIST, image_size=48), str(tmp_path))
    assert torch.equal(split.test[:, 0, 10:38, 10:38], torch.from_numpy(pixels(4, 2)).float() / 255)
    assert split.test.count_nonzero() == split.test[:, 0, 10:38, 10:38].count_nonzero()


def test_the_data_folder_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "data/mnist")
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path / "data"))
    assert len(load_split(MNIST, None).train) == 3
    assert data_folder(str(tmp_path)) == tmp_path  # the option comes first


def test_a_digest_is_of_pixels_shapes_and_labels(tmp_path: Path) -> None:
    write_mnist(tmp_path / "plain/mnist")
    write_mnist(tmp_path / "zipped/mnist", zipped=True)
    one_pixel = bytearray(mnist_files()["t10k-images-idx3-ubyte"])
    one_pixel[400] ^= 1
    write_mnist(tmp_path / "pixel/mnist", t10k_images=bytes(one_pixel))
    write_mnist(tmp_path / "label/mnist", t10k_labels=idx(bytes([3, 2, 3, 3]), 4))
    plain, zipped, pixel, label = (
        load_split(MNIST, str(tmp_path / name)).digest for name in ("plain", "zipped", "pixel", "label")
    )
    assert plain == zipped
    assert len({plain, pixel, label}) == 3
    # A fixed number: another machine, version or layout of the code must not give another.
    sha = hashlib.sha256()
    train, test = (np.pad(p, ((0, 0), (2, 2), (2, 2))) for p in (pixels(6, 1)[[0, 2, 5]], pixels(4, 2)))
    for kind, shape, content in (
        ("|u1", (3, 1, 32, 32), train.tobytes()),
        ("|u1", (4, 1, 32, 32), test.tobytes()),
        ("|b1", (4,), b"\0\1\1\0"),
    ):
        sha.update(f"{kind}{shape}".encode() + content)
    assert plain == sha.hexdigest()


WHOLE = mnist_files()["train-images-idx3-ubyte"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (WHOLE[:-1], r"train-images.*: expected 4720 bytes for 6×28×28 values, found 4719; it is truncated"),
        (WHOLE + b"\0", r"expected 4720 bytes .*found 4721; it is too long"),
        (WHOLE[:9], r"expected a header of 16 bytes, found 9"),
        (b"", r"expected an IDX file, which begins 0x00000803, found an empty file"),
        (b"PK\3\4" + WHOLE, r"expected an IDX file, which begins 0x00000803, found 0x504b0304"),
        (
            idx(pixels(6, 1).tobytes(), 6, 28, 28, kind=13),
            r"expected unsigned bytes \(IDX type 0x08\), found type 0x0d",
        ),
        (idx(bytes(TRAIN_LABELS), 6), r"expected 3 dimensions, found 1; .* swapped\?"),
        (idx(bytes(6 * 4), 6, 2, 2), r"expected images of 28×28 pixels, found 2×2"),
        (idx(bytes(5 * 784), 5, 28, 28), r"train-labels.*: expected 5 labels, one for each image, found 6"),
        # Dimensions whose product overflows 64 bits must not be taken at their word.
        (idx(b"", 2**31, 2**31, 2**31), r"expected 99\d+ bytes .*found 16; it is truncated"),
    ],
)
def test_a_broken_idx_file_is_named_with_what_is_wrong(tmp_path: Path, changed: bytes, message: str) -> None:
    write_mnist(tmp_path / "mnist", train_images=changed)
    fails(message, MNIST, tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            gzip.compress(WHOLE)[:-100],
            r"train-images-idx3-ubyte.gz: expected a whole gzip file, found one cut off after",
        ),
        (WHOLE, r"train-images-idx3-ubyte.gz: expected a gzip file, found Not a gzipped file"),
        (gzip.compress(WHOLE)[:2000] + b"xxxx" + gzip.compress(WHOLE)[2004:], r"expected a gzip file, found "),
        (gzip.compress(WHOLE[:1000]), r"train-images-idx3-ubyte.gz: expected 4720 bytes .*found 1000; it is truncated"),
    ],
)
def test_a_broken_gzip_file_is_named_with_what_is_wrong(tmp_path: Path, changed: bytes, message: str) -> None:
    write_mnist(tmp_path / "mnist", zipped=True, train_images=changed)
    fails(message, MNIST, tmp_path)


def test_mnist_errors_about_what_is_missing(tmp_path: Path) -> None:
    fails(r"--data-dir .*nowhere: expected a folder of data sets, found no such folder", MNIST, tmp_path / "nowhere")
    fails(r"expected a folder mnist/ or MNIST/raw/ with the four IDX files, found neither", MNIST, tmp_path)
    write_mnist(tmp_path / "mnist", train_labels=idx(bytes([10] * 6), 6))
    fails(r"train-labels.*: expected labels from 0 to 9, found 10", MNIST, tmp_path)
    (tmp_path / "mnist/train-labels-idx1-ubyte").write_bytes(idx(bytes([1] * 6), 6))
    fails(r"--normal: expected a digit that the training images show, found 3", MNIST, tmp_path)
    (tmp_path / "mnist/t10k-labels-idx1-ubyte").unlink()
    fails(r"mnist: expected t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz, found neither", MNIST, tmp_path)


def test_a_wrong_landscape_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDSCAPE_DATA", str(tmp_path / "nowhere"))
    fails(r"^LANDSCAPE_DATA .*nowhere: expected a folder", MNIST)


# --- MNIST's download ------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Server:
    url: str
    folder: Path
    requests: list[str]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Start HTTP servers on the loopback interface, each with a folder of its own that holds the small MNIST."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running: list[ThreadingHTTPServer] = []

    def start(name: str, **changed: bytes) -> Server:
        seen: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def log_request(self, *_: object) -> None:
                seen.append(self.path)

            def log_message(self, *_: object) -> None:
                pass

        folder = write_mnist(tmp_path / name, zipped=True, **changed)
        handler = functools.partial(Handler, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        running.append(server)
        threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01), daemon=True).start()
        return Server(f"http://127.0.0.1:{server.server_port}/", folder, seen)

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def use(monkeypatch: pytest.MonkeyPatch, *servers: Server) -> None:
    """Make `servers` the mirrors, with the checksums of the files that the last one holds."""
    monkeypatch.setattr(mnist, "MIRRORS", tuple(server.url for server in servers))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in servers[-1].folder.iterdir()}
    monkeypatch.setattr(mnist, "SHA256", digests)


def test_mnist_is_downloaded_once_into_the_cache(
    cache: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("server")
    use(monkeypatch, server)
    split = load_split(MNIST, None)
    assert torch.equal(split.test[:, 0, 2:30, 2:30], torch.from_numpy(pixels(4, 2)).float() / 255)
    assert sorted(server.requests) == sorted(f"/{name}.gz" for name in mnist_files())
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(f"{name}.gz" for name in mnist_files())
    assert load_split(MNIST, None).digest == split.digest
    assert len(server.requests) == 4


def test_a_mirror_is_asked_if_the_first_address_fails(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent, mirror = serve("absent"), serve("mirror")
    for path in absent.folder.iterdir():
        path.unlink()
    use(monkeypatch, absent, mirror)
    assert len(load_split(MNIST, None).train) == 3
    assert len(absent.requests) == len(mirror.requests) == 4


def test_a_mirror_is_asked_if_the_first_file_is_another(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, mirror = serve("other", train_images=b"<html>log in first</html>"), serve("mirror")
    use(monkeypatch, other, mirror)
    assert len(load_split(MNIST, None).train) == 3
    assert mirror.requests == ["/train-images-idx3-ubyte.gz"]


def test_a_wrong_checksum_names_file_and_both_digests(
    cache: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("server")
    use(monkeypatch, server)
    other = gzip.compress(b"other")
    (server.folder / "train-images-idx3-ubyte.gz").write_bytes(other)
    expected, found = mnist.SHA256["train-images-idx3-ubyte.gz"], hashlib.sha256(other).hexdigest()
    fails(rf"^train-images-idx3-ubyte.gz: .*expected SHA-256 {expected}, found {found}.*--data-dir", MNIST)
    assert list((cache / "mnist").iterdir()) == []  # nothing under a final name, nor left over


def test_a_damaged_download_in_the_cache_is_fetched_again(
    cache: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("server")
    use(monkeypatch, server)
    digest = load_split(MNIST, None).digest
    (cache / "mnist/t10k-images-idx3-ubyte.gz").write_bytes(b"damaged")
    assert load_split(MNIST, None).digest == digest
    assert server.requests[4:] == ["/t10k-images-idx3-ubyte.gz"]


def test_no_network_is_an_error_that_says_what_to_do(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, serve("server"))
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    fails(r"could not be downloaded \(http://127.0.0.1:9/a/: .*; http://127.0.0.1:9/b/: .*--data-dir", MNIST)


def test_nothing_is_downloaded_when_a_data_folder_is_given(
    tmp_path: Path, cache: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("server")
    use(monkeypatch, server)
    write_mnist(tmp_path / "data/mnist")
    load_split(MNIST, str(tmp_path / "data"))
    (tmp_path / "data/mnist/t10k-labels-idx1-ubyte").unlink()
    before = snapshot(tmp_path / "data")
    fails("found neither", MNIST, tmp_path / "data")
    assert snapshot(tmp_path / "data") == before
    assert server.requests == []
    assert not cache.exists()


# --- mnist-mini ------------------------------------------------------------------------------------------------------


def mini_arrays() -> dict[str, np.ndarray]:
    with np.load(ROOT / "training/assets/mnist-mini.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("digit", [0, 8])
def test_mnist_mini_has_its_counts(digit: int) -> None:
    split = load_split(resolve(RunConfig(dataset="mnist-mini", normal=digit)), None)
    assert split.train.shape == (1000, 1, 32, 32)
    assert split.test.shape == (2000, 1, 32, 32)
    assert Counter(split.classes) == {str(k): 200 for k in range(10)}
    assert split.labels.tolist() == [name != str(digit) for name in split.classes]
    assert len(set(split.ids)) == 2000
    assert split.train.min() == 0
    assert split.train.max() == 1
    assert (split.train[:, :, :2] == 0).all()


def test_mnist_mini_is_small_and_complete() -> None:
    assert (ROOT / "training/assets/mnist-mini.npz").stat().st_size < 2_500_000
    arrays = mini_arrays()
    assert np.bincount(arrays["train_labels"]).tolist() == [1000] * 10
    assert np.bincount(arrays["test_labels"]).tolist() == [200] * 10
    assert int(arrays["seed"]) == make_mnist_mini.SEED


@full_mnist
def test_mnist_mini_is_a_subset_of_mnist() -> None:
    arrays = mini_arrays()
    train, test = mnist.read_mnist(Path(FULL_DATA))
    for part, digits in (("train", train), ("test", test)):
        position = arrays[f"{part}_position"]
        assert len(np.unique(position)) == len(position)
        assert np.array_equal(digits.images[position], arrays[f"{part}_images"])
        assert np.array_equal(digits.labels[position], arrays[f"{part}_labels"])


@full_mnist
def test_the_full_mnist_has_its_published_counts_and_checksum() -> None:
    split = load_split(MNIST, FULL_DATA)
    assert split.train.shape == (6131, 1, 32, 32)
    assert split.test.shape == (10000, 1, 32, 32)
    assert int((~split.labels).sum()) == 1010
    train, _ = mnist.read_mnist(Path(FULL_DATA))
    content = idx(train.images.tobytes(), 60000, 28, 28)
    assert hashlib.md5(content).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"


def test_the_small_set_is_made_the_same_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = bytes(list(range(10)) * 3)
    content = idx(pixels(30, 5).tobytes(), 30, 28, 28)
    changed = {f"{part}_labels": idx(labels, 30) for part in ("train", "t10k")}
    changed |= {f"{part}_images": content for part in ("train", "t10k")}
    write_mnist(tmp_path / "data/mnist", **changed)
    monkeypatch.setattr(make_mnist_mini, "TRAIN", 2)
    monkeypatch.setattr(make_mnist_mini, "TEST", 1)
    written = []
    for out in (tmp_path / "a.npz", tmp_path / "b.npz"):
        make_mnist_mini.main(["--data-dir", str(tmp_path / "data"), "--out", str(out)])
        assert capsys.readouterr().out.splitlines()[-1] == str(out)
        written.append(out.read_bytes())
    assert written[0] == written[1]
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.bincount(arrays["train_labels"]).tolist() == [2] * 10
        assert np.array_equal(arrays["test_images"], pixels(30, 5)[arrays["test_position"]])
    monkeypatch.setattr(make_mnist_mini, "TRAIN", 4)
    with pytest.raises(InputError, match="expected at least 4 images of the digit 0, found 3"):
        make_mnist_mini.main(["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "c.npz")])
    with pytest.raises(InputError, match="expected a folder that can be written"):
        make_mnist_mini.main(["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "a.npz/c.npz")])


# --- MVTec AD --------------------------------------------------------------------------------------------------------

NUT = resolve(RunConfig(dataset="mvtec", category="nut", image_size=64))


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (9, 7)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def write_nut(root: Path) -> Path:
    """A category with 2 training images and 3 test images, each of one colour. Made out of order."""
    paint(root / "train/good/001.png", (1, 2, 3))
    paint(root / "train/good/000.png", (10, 20, 30))
    paint(root / "test/good/000.png", (255, 0, 0))
    paint(root / "test/bent/001.png", (0, 0, 255))
    paint(root / "test/bent/000.png", (0, 255, 0))
    for number in ("000", "001", "002"):
        paint(root / f"ground_truth/bent/{number}_mask.png", (255, 255, 255))
    (root / "readme.txt").write_text("not an image")
    return root


@pytest.mark.parametrize("place", ["mvtec/nut", "nut"])
def test_mvtec_is_found_in_both_places_and_sorted(tmp_path: Path, place: str) -> None:
    write_nut(tmp_path / "data" / place)
    before = snapshot(tmp_path / "data")
    split = load_split(NUT, str(tmp_path / "data"))
    assert split.train.shape == (2, 3, 64, 64)
    assert (split.train[:, :, 0, 0] * 255).round().tolist() == [[10, 20, 30], [1, 2, 3]]
    assert split.ids == ["test/bent/000.png", "test/bent/001.png", "test/good/000.png"]
    assert split.classes == ["bent", "bent", "good"]
    assert split.labels.tolist() == [True, True, False]
    assert split.test[:, :, 5, 60].tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert snapshot(tmp_path / "data") == before


def test_mvtec_in_grey_has_one_channel(tmp_path: Path) -> None:
    write_nut(tmp_path / "nut")
    split = load_split(dataclasses.replace(NUT, channels=1), str(tmp_path))
    assert split.train.shape == (2, 1, 64, 64)
    # Luma of ITU-R 601: 0.299 R + 0.587 G + 0.114 B.
    assert (split.test[:, 0, 0, 0] * 255).round().tolist() == [round(255 * w) for w in (0.587, 0.114, 0.299)]


def test_an_image_is_resized_by_the_area_that_a_pixel_covers(tmp_path: Path) -> None:
    """Fine stripes become their mean: picking single pixels would show black or white."""
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    assert np.abs(images.decode(tmp_path / "stripes.png", 32, 1).astype(int) - 127.5).max() <= 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda nut: shutil.rmtree(nut / "train"), r"nut/train/good: expected normal images to train on, found none"),
        (lambda nut: shutil.rmtree(nut / "test"), r"nut/test: expected a folder of test images, found none"),
        (lambda nut: [p.unlink() for p in nut.glob("test/*/*")], r"nut/test: expected test images .*, found no image"),
        (lambda nut: shutil.rmtree(nut / "test/good"), r"nut/test/good: expected normal test images, found .*bent"),
        (lambda nut: shutil.rmtree(nut / "test/bent"), r"nut/test: expected anomalous test images .*found only good/"),
        (
            lambda nut: (nut / "test/bent/000.png").write_bytes(b"\x89PNG no"),
            r"bent/000.png: expected a readable image",
        ),
    ],
)
def test_an_incomplete_category_is_named_with_what_it_lacks(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(write_nut(tmp_path / "mvtec/nut"))
    fails(message, NUT, tmp_path)


def test_an_absent_category_is_answered_with_those_there(tmp_path: Path) -> None:
    fails(r"--category: expected a folder mvtec/nut/ or nut/ in .*, found no category", NUT, tmp_path)
    write_nut(tmp_path / "mvtec/bottle")
    write_nut(tmp_path / "carpet")
    write_mnist(tmp_path / "mnist")
    fails(r"--category: .* found the categories bottle, carpet$", NUT, tmp_path)
    fails(r"--category: .* found the categories bottle, carpet$", dataclasses.replace(NUT, category=".."), tmp_path)


def test_mvtec_without_a_data_folder_says_how_to_get_it() -> None:
    fails(r"--data-dir: expected .*mvtec/<category>/.*cannot be downloaded.*CC BY-NC-SA 4.0.*LANDSCAPE_DATA", NUT)


@full_bottle
def test_the_real_bottle_has_its_published_counts() -> None:
    assert BOTTLE is not None
    before = snapshot(BOTTLE)
    split = load_split(resolve(RunConfig(dataset="mvtec", category="bottle", image_size=64)), FULL_DATA)
    assert split.train.shape == (209, 3, 64, 64)
    assert Counter(split.classes) == {"good": 20, "broken_large": 20, "broken_small": 22, "contamination": 21}
    assert split.labels.sum() == 63
    for image, anomalous in zip(split.ids, split.labels, strict=True):
        mask = BOTTLE / image.replace("test/", "ground_truth/").replace(".png", "_mask.png")
        assert mask.is_file() == anomalous  # the masks can be found from the ids
    assert snapshot(BOTTLE) == before


# --- the cache of decoded images -------------------------------------------------------------------------------------


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


def test_images_are_decoded_once(tmp_path: Path, cache: Path, decodes: list[Path]) -> None:
    write_nut(tmp_path / "nut")
    first = load_split(NUT, str(tmp_path))
    assert len(decodes) == 5
    second = load_split(NUT, str(tmp_path))
    assert len(decodes) == 5
    assert second.digest == first.digest
    assert torch.equal(second.test, first.test)
    assert [path.suffix for path in (cache / "decoded").iterdir()] == [".npz", ".npz"]  # no temporary file left
    load_split(dataclasses.replace(NUT, channels=1), str(tmp_path))
    load_split(dataclasses.replace(NUT, image_size=128), str(tmp_path))
    assert len(decodes) == 15


@pytest.mark.parametrize("change", ["pixels", "time", "added", "renamed"])
def test_a_changed_image_is_decoded_again(tmp_path: Path, decodes: list[Path], change: str) -> None:
    nut = write_nut(tmp_path / "nut")
    before = load_split(NUT, str(tmp_path))
    image = nut / "test/bent/001.png"
    if change == "pixels":
        paint(image, (9, 9, 9), (30, 30))
    elif change == "time":
        size = image.stat().st_size
        paint(image, (0, 0, 254))
        assert image.stat().st_size == size
        os.utime(image, ns=(time.time_ns(), image.stat().st_mtime_ns + 1_000_000))
    elif change == "added":
        paint(nut / "test/bent/002.png", (9, 9, 9))
    else:
        image.rename(nut / "test/good/001.png")
    after = load_split(NUT, str(tmp_path))
    assert after.digest != before.digest
    assert len(decodes) == 5 + len(after.ids)  # the training images came from the cache


@pytest.mark.parametrize("damage", [b"", b"not an npz", "truncate", "flip"])
def test_a_broken_cache_is_made_anew(tmp_path: Path, cache: Path, decodes: list[Path], damage: bytes | str) -> None:
    write_nut(tmp_path / "nut")
    digest = load_split(NUT, str(tmp_path)).digest
    for path in (cache / "decoded").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes({"truncate": content[: len(content) // 2], "flip": content}.get(str(damage), damage))
    assert load_split(NUT, str(tmp_path)).digest == digest
    assert len(decodes) == 10
    assert load_split(NUT, str(tmp_path)).digest == digest
    assert len(decodes) == 10


def test_without_a_usable_cache_folder_images_are_loaded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nut(tmp_path / "nut")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LANDSCAPE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="decoded images not cached: .*LANDSCAPE_CACHE names another folder"):
        assert len(load_split(NUT, str(tmp_path)).train) == 2


# --- any folders -----------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> RunConfig:
    """Three folders of images in several formats and depths."""
    root = tmp_path / "any"
    paint(root / "train/b.JPG", (50, 50, 50))
    paint(root / "train/deep/er/a.png", (255, 255, 255))
    paint(root / "normal/x.bmp", (0, 0, 0))
    for name in ("1.tif", "2.TIFF", "3.webp", "sub/4.jpeg"):
        paint(root / "odd" / name, (200, 200, 200))
    (root / "odd/notes.txt").write_text("not an image")
    (root / "odd/._1.tif").write_bytes(b"what some file managers leave behind")
    names = {"train_dir": "train", "test_normal_dir": "normal", "test_anomalous_dir": "odd"}
    return resolve(RunConfig(dataset="folder", image_size=64, **{k: str(root / v) for k, v in names.items()}))


def test_folder_takes_any_images(tmp_path: Path, three: RunConfig) -> None:
    before = snapshot(tmp_path / "any")
    split = load_split(three, None)
    assert split.train.shape == (2, 3, 64, 64)
    assert split.ids == ["x.bmp", "1.tif", "2.TIFF", "3.webp", "sub/4.jpeg"]
    assert split.classes == ["normal"] + ["anomalous"] * 4
    assert split.labels.tolist() == [False, True, True, True, True]
    assert split.train[1].min() == 1
    assert split.test[0].max() == 0
    assert (split.test[1:] * 255 - 200).abs().max() <= 2  # lossy formats
    assert snapshot(tmp_path / "any") == before


def test_folder_is_cached_too(three: RunConfig, decodes: list[Path]) -> None:
    digests = {load_split(three, None).digest for _ in range(2)}
    assert len(digests) == 1
    assert len(decodes) == 7


@pytest.mark.parametrize("name", ["train_dir", "test_normal_dir", "test_anomalous_dir"])
def test_folder_errors_name_option_and_folder(tmp_path: Path, three: RunConfig, name: str) -> None:
    option = "--" + name.replace("_", "-")
    gone = dataclasses.replace(three, **{name: str(tmp_path / "gone")})
    fails(rf"^{option} .*gone: expected a folder of images, found no such folder", gone)
    (tmp_path / "empty").mkdir()
    empty = dataclasses.replace(three, **{name: str(tmp_path / "empty")})
    fails(rf"^{option} .*empty: expected images \(bmp, jpeg, jpg, png, .*\), found none", empty)


def test_an_unreadable_image_is_named(tmp_path: Path, three: RunConfig) -> None:
    image = paint(tmp_path / "any/odd/5.png", (1, 2, 3), (300, 300))
    image.write_bytes(image.read_bytes()[:-60])
    fails(rf"^{re.escape(str(image))}: expected a readable image, found .*; replace or remove it", three)
    image.write_bytes(b"")
    fails(r"odd/5.png: expected a readable image, found cannot identify image file", three)
    image.unlink()
    image.symlink_to(tmp_path / "gone.png")
    fails(r"odd/5.png: expected a readable image, found No such file", three)


def test_an_image_cannot_be_normal_and_anomalous(tmp_path: Path, three: RunConfig) -> None:
    fails(r"not in --test-normal-dir too, found 4 of them", dataclasses.replace(three, test_normal_dir=str(tmp_path)))


def test_other_pixel_types_become_8_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 16 * 16).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    assert np.abs(images.decode(tmp_path / "deep.png", 16, 1)[0] - ramp / 257).max() <= 0.5
    Image.new("RGBA", (4, 4), (255, 0, 0, 7)).save(tmp_path / "alpha.png")
    assert images.decode(tmp_path / "alpha.png", 4, 3)[:, 0, 0].tolist() == [255, 0, 0]
    Image.new("P", (4, 4)).save(tmp_path / "palette.png")
    assert images.decode(tmp_path / "palette.png", 4, 3).shape == (3, 4, 4)
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(InputError, match=r"float.tif: .*32-bit pixels \(mode F\)"):
        images.decode(tmp_path / "float.tif", 4, 1)


def test_every_data_set_of_the_configuration_is_there() -> None:
    from typing import get_args

    from training.data.config import DatasetName

    assert tuple(DATASETS) == get_args(DatasetName)
