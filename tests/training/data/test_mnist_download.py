"""MNIST's download, against a local server."""

import dataclasses
import functools
import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from tests.training.data.made import (
    MNIST,
    fails,
    mnist_files,
    pixels,
    snapshot,
    write_mnist,
)
from training.data import mnist
from training.data.splits import load_split


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
    files = {path.name: path.read_bytes() for path in servers[-1].folder.iterdir()}
    change(
        monkeypatch,
        mirrors=tuple(server.url for server in servers),
        digests={name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in files.items()},
    )


def change(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    monkeypatch.setattr(mnist, "MNIST", dataclasses.replace(mnist.MNIST, **changes))


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
    digest, found = mnist.MNIST.digests["train-images-idx3-ubyte.gz"], hashlib.sha256(other).hexdigest()
    expected = digest.removeprefix("sha256:")
    fails(rf"^train-images-idx3-ubyte.gz: .*expected sha256 {expected}, found {found}.*--data-dir", MNIST)
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
    change(monkeypatch, mirrors=("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
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


def test_fashion_mnist_is_downloaded_into_a_folder_of_its_own_by_its_md5(
    cache: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("server")
    files = {path.name: path.read_bytes() for path in server.folder.iterdir()}
    digests = {name: f"md5:{hashlib.md5(content).hexdigest()}" for name, content in files.items()}
    fashion = dataclasses.replace(mnist.FASHION_MNIST, mirrors=(server.url,), digests=digests)
    monkeypatch.setattr(mnist, "FASHION_MNIST", fashion)
    config = dataclasses.replace(MNIST, dataset="fashion-mnist")
    assert len(load_split(config, None).train) == 3
    assert sorted(path.name for path in (cache / "fashion-mnist").iterdir()) == sorted(files)
    (server.folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"other")
    (cache / "fashion-mnist/t10k-images-idx3-ubyte.gz").unlink()
    fails("t10k-images-idx3-ubyte.gz: .*expected md5 .*the folder fashion-mnist/", config)
