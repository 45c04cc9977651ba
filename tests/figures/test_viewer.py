"""The viewer's page: holds the grids exactly, asks no network for anything, and works by mouse and keyboard."""

import base64
import gzip
import json
import re
import shutil
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from figures import viewer
from landscape.files.grid import Axis, Floats, Grid, empty_grid, parse_axis, write_new
from tests.chromium import Browser, browser
from training.runtime.command import InputError, command

FAKE = b"window.Plotly = {};"


def valley(loss: str = "l2", scale: float = 1.0, ny: int = 9, planes: int = 1, nx: int = 11) -> Grid:
    """Every second column interpolated: without standard error."""
    meta = {
        "identity": {"seed": 0, "samples": {"train-normal": 1000}},
        "metrics": {
            "auroc": {"transform": "none", "definition": "AUROC"},
            "l2": {"transform": "log", "definition": "L2 loss, summed over pixels"},
            "own": {"transform": "log", "definition": f"training loss {loss}"},
        },
        "config": {"loss": loss, "batch_size": 128, "epochs": 3, "dataset": "mnist-mini", "normal": 3},
        "checkpoint_metrics": {"auroc": 0.9, "auroc_low": 0.85, "auroc_high": 0.93},
    }
    y = parse_axis("y", f"-0.5:0.5:{ny}") if ny > 1 else Axis("y", np.zeros(1))
    grid = empty_grid(parse_axis("x", f"-1:1:{nx}" if nx > 1 else "0:0:1"), y, list(meta["metrics"]), planes, meta)
    u, v = np.meshgrid(grid.x.values, grid.y.values)
    for plane in range(planes):
        loss_values = scale * np.exp(2 * (u - 0.2) ** 2 + (3 + plane) * v**2)
        for name, values in {"l2": loss_values, "own": 3 * loss_values, "auroc": 0.9 - 0.2 * u**2 - 0.1 * v}.items():
            grid.values[name][plane] = values
            grid.stderr[name][plane] = values / 30
    grid.done[:] = grid.evaluated[:] = True
    grid.evaluated[:, :, 1::2] = False
    for errors in grid.stderr.values():
        errors[~grid.evaluated] = np.nan
    return grid


@dataclass(frozen=True)
class Track:
    coordinates: Floats
    distance: Floats
    updates: Floats


class Elements(HTMLParser):
    """All start tags of a page with their attributes, and the text of script and style elements by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.inside = self.tags[-1][1].get("id", tag) if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[self.inside] = self.texts.get(self.inside, "") + data


def data_of(text: str) -> Any:
    return json.loads(Elements(text).texts["data"], parse_constant=lambda name: pytest.fail(f"not strict JSON: {name}"))


def array(nested: Any) -> Floats:
    """What `plain` wrote, read back: None is NaN, "inf" and "-inf" are what they say."""
    return np.array(nested, dtype=object).astype(np.float64)


@pytest.mark.parametrize(
    "grids",
    [
        [valley()],
        [valley(), valley("l2-lamp", 50.0, ny=4, planes=3)],
        [valley(ny=1), valley(ny=5)],
        [valley(ny=1, nx=1)],
    ],
    ids=["one", "two with planes", "line and area", "point"],
)
def test_the_page_holds_the_grids_exactly(grids: list[Grid]) -> None:
    surfaces = data_of(viewer.page([(f"{k}.h5", grid) for k, grid in enumerate(grids)], FAKE))["surfaces"]
    assert len(surfaces) == len(grids)
    for found, grid in zip(surfaces, grids, strict=True):
        np.testing.assert_array_equal(found["x"], grid.x.values)
        np.testing.assert_array_equal(found["y"], grid.y.values)
        np.testing.assert_array_equal(np.array(found["done"]), grid.done)
        np.testing.assert_array_equal(np.array(found["evaluated"]), grid.evaluated)
        assert set(found["values"]) == set(found["stderr"]) == set(grid.values)
        for name in grid.values:
            np.testing.assert_array_equal(array(found["values"][name]), grid.values[name])
            np.testing.assert_array_equal(array(found["stderr"][name]), grid.stderr[name])


def test_points_to_come_and_diverged_ones_are_told_apart() -> None:
    grid = valley()
    grid.done[0, 2] = grid.evaluated[0, 2] = False
    grid.values["l2"][0, 2] = np.nan
    grid.values["l2"][0, 4, :3] = np.inf, -np.inf, np.nan
    found = data_of(viewer.page([("a.h5", grid)], FAKE))["surfaces"][0]
    assert found["values"]["l2"][0][4][:4] == ["inf", "-inf", None, grid.values["l2"][0, 4, 3]]
    assert found["done"][0][2] == [0] * 11
    assert found["done"][0][4] == [1] * 11
    assert found["provenance"][-1] == "unfinished: 89% of the points"
    np.testing.assert_array_equal(array(found["values"]["l2"]), grid.values["l2"])


def test_the_page_says_where_the_numbers_come_from() -> None:
    page = data_of(viewer.page([("a.h5", valley()), ("b.h5", valley("l2-lamp"))], FAKE))
    first, second = page["surfaces"]
    assert (first["title"], second["title"]) == ("Trained with L2", "Trained with L2-LAMP")
    texts = ["batch size 128", "epochs 3", "mnist-mini, normal: 3", "AUROC 0.900 [0.850, 0.930]"]
    assert first["provenance"] == texts
    assert ["L2", "L2 loss, summed over pixels"] in first["details"]
    assert ["samples", "train-normal: 1000"] in first["details"]
    assert list(page["metrics"]) == ["l2", "own", "auroc"]
    assert page["metrics"]["l2"] == {"label": "L2", "axis": "L2 loss (sum over pixels)", "log": True, "common": True}
    assert not page["metrics"]["own"]["common"]  # losses of different definitions share no scale
    assert not page["metrics"]["auroc"]["log"]
    assert page["different"] == []
    moved = replace(valley(), meta={**valley().meta, "identity": {"seed": 1}})
    assert data_of(viewer.page([("a.h5", valley()), ("b.h5", moved)], FAKE))["different"] == ["seed", "samples"]


def test_paths_on_the_plane_are_in_the_page() -> None:
    grid = valley()
    assert data_of(viewer.page([("a.h5", grid)], FAKE))["surfaces"][0]["paths"] == {}
    track = Track(np.array([[0.5, 0.25], [0.0, 0.0]]), np.array([0.3, 0.0]), np.array([np.nan, 24.0]))
    grid.paths = {"trajectory": track}
    found = data_of(viewer.page([("a.h5", grid)], FAKE))["surfaces"][0]["paths"]
    assert found == {
        "trajectory": {"points": [[0.5, 0.25], [0.0, 0.0]], "distance": [0.3, 0.0], "updates": [None, 24.0]}
    }


def test_nothing_in_a_file_can_break_out_of_the_page() -> None:
    grid = valley()
    grid.meta["config"] = {}
    grid.meta["name"] = nasty = '</script><script src="//x">{{script}}&<!--'
    elements = Elements(viewer.page([("a.h5", grid)], FAKE))
    assert json.loads(elements.texts["data"])["surfaces"][0]["title"] == nasty
    assert [tag for tag, _ in elements.tags].count("script") == 3


def test_the_page_refers_to_no_network() -> None:
    text = viewer.page([("a.h5", valley())], FAKE)
    elements = Elements(text)
    for tag, attributes in elements.tags:
        for name in ("src", "href", "srcset", "action", "poster", "background"):
            assert attributes.get(name, "data:").startswith("data:"), tag
    assert not re.search(r"https?://|url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|\bimport\b", text)
    policy = next(a["content"] for _, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert not re.search(r"\*|'self'", policy)


def test_controls_have_names_and_ids_are_used_once() -> None:
    tags = Elements(viewer.page([("a.h5", valley())], FAKE)).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [tag for tag, _ in tags].count("label") == [tag for tag, _ in tags].count("select") == 4
    buttons = [attributes for tag, attributes in tags if tag == "button"]
    assert len(buttons) == 6
    assert all(button["type"] == "button" and button["aria-label"] for button in buttons)
    assert "prefers-reduced-motion" in viewer.asset("page.css")


def test_the_installed_plotly_is_packed_into_the_page() -> None:
    pytest.importorskip("plotly")
    script = viewer.plotly_script()
    packed = Elements(viewer.page([("a.h5", valley())], script)).texts["plotly"]
    assert gzip.decompress(base64.b64decode(packed)) == script
    assert len(packed) < len(script) / 2
    assert b"plotly.js v" in script[:200]


def test_the_command_writes_the_same_page_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("plotly")
    write_new(tmp_path / "a.h5", valley(), {})
    arguments = [str(tmp_path / "a.h5"), "--out", str(out := tmp_path / "new" / "view.html")]
    viewer.main(arguments)
    assert capsys.readouterr().out == f"{out}\n"
    first = out.read_bytes()
    viewer.main(arguments)
    assert out.read_bytes() == first
    assert [path.name for path in out.parent.iterdir()] == ["view.html"]


def test_unusable_input_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_new(tmp_path / "a.h5", valley(), {})
    source, out = str(tmp_path / "a.h5"), ["--out", str(tmp_path / "view.html")]
    with pytest.raises(InputError, match=r"view.png: expected a name that ends in .html, .htm, found '.png'"):
        viewer.main([source, "--out", "view.png"])
    with pytest.raises(InputError, match="expected 1 to 8 grid files, found 9"):
        viewer.main([source] * 9 + out)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command(viewer.main)([source, *out]) == 2
    error = capsys.readouterr().err
    assert error == "error: plotly: expected the package plotly, found none; pip install 'lamp-landscape[viewer]'\n"
    assert not (tmp_path / "view.html").exists()


# In a browser ---------------------------------------------------------------------------------------------------------


def drawn(page: Browser, selector: str, expression: str = "z", trace: int = 0) -> Any:
    return page.run(f"[...document.querySelectorAll('{selector}')].map((p) => p.data[{trace}].{expression})")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Any:
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not on the PATH: the page is not looked at")
    pytest.importorskip("plotly")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1400, 900), (400, 800)])
def test_the_page_in_a_browser(chromium: Browser, tmp_path: Path, width: int, height: int) -> None:
    first, second = valley(planes=2), valley("l2-lamp", 50.0, planes=2)
    first.done[0, 6, 5] = False
    first.values["l2"][0, 2, 7] = np.inf
    first.paths = {"trajectory": Track(np.array([[0.9, 0.4], [0.0, 0.0]]), np.zeros(2), np.array([0.0, 24.0]))}
    line = valley(ny=1)
    out = tmp_path / "view.html"
    out.write_text(viewer.page([("a.h5", first), ("b.h5", second), ("c.h5", line)], viewer.plotly_script()))
    chromium.requests(), chromium.log("browser")
    chromium.open(out, width, height)

    expected = np.where(first.done[0] & np.isfinite(first.values["l2"][0]), np.log10(first.values["l2"][0]), np.nan)
    for kind in ("solid", "map"):  # heights and holes
        np.testing.assert_allclose(array(drawn(chromium, f".{kind}")[0]), expected, atol=1e-12)
    limits = [np.log10(1 - 1.959964 / 30), np.log10(second.values["l2"][0].max())]
    # one scale for all, from the lowest end of the line's band
    np.testing.assert_allclose([drawn(chromium, ".map", f"z{end}") for end in ("min", "max")], np.c_[limits, limits])
    check_switches(chromium, first, second)
    check_marker(chromium, first)
    check_width(chromium, tmp_path, width, height)

    assert [entry for entry in chromium.log("browser") if entry["level"] not in ("WARNING", "INFO")] == []
    requests = {url for url in chromium.requests() if not url.startswith(("chrome:", "data:", "blob:"))}
    assert requests == {out.as_uri()}


def check_switches(page: Browser, first: Grid, second: Grid) -> None:
    page.choose("#scale", "own")
    page.wait(f"document.querySelectorAll('.map')[1].data[0].zmin > {np.log10(49)}")
    page.choose("#height", "linear")
    page.wait("document.querySelectorAll('.map')[1].data[0].zmin >= 50")
    np.testing.assert_array_equal(array(drawn(page, ".solid")[1]), second.values["l2"][0])
    page.choose("#plane", "1")
    page.wait("document.querySelectorAll('.map')[0].data[0].z[2][7] !== null")
    np.testing.assert_array_equal(array(drawn(page, ".map")[0]), first.values["l2"][1])
    page.choose("#metric", "auroc")
    page.wait("document.querySelectorAll('.map')[1].data[0].zmax < 1")
    for kind in ("solid", "map"):
        np.testing.assert_array_equal(array(drawn(page, f".{kind}")[1]), second.values["auroc"][1])
    assert page.run("document.getElementById('height').disabled")
    page.choose("#metric", "own")
    page.wait("document.getElementById('scale').disabled")
    page.choose("#metric", "l2")
    page.choose("#plane", "0")
    page.choose("#height", "log")
    page.choose("#scale", "shared")
    page.wait("document.querySelectorAll('.map')[0].data[0].z[2][7] === null")


def check_marker(page: Browser, first: Grid) -> None:
    def at(column: int, row: int) -> str:
        x, y = first.x.values[column], first.y.values[row]
        places = "[...document.querySelectorAll('.solid, .map')].map((p) => [p.data[1].x[0], p.data[1].y[0]])"
        return f"{places}.every(([x, y]) => x === undefined || Math.hypot(x - {x}, y - {y}) < 1e-9)"

    page.press(".map", "home")
    page.wait(at(5, 4))
    page.press(".map", "right", "up")
    page.wait(at(6, 5))
    text = page.run("document.getElementById('live').textContent")
    value, error = first.values["l2"][0, 5, 6], first.stderr["l2"][0, 5, 6]
    assert text.startswith(f"x 0.2, y 0.125. Trained with L2: L2 {value:.4g} ± {error:.2g} (standard error), evaluated")
    page.press(".map", "left")
    page.wait(at(5, 5))
    assert "L2 1.135, interpolated" in page.run("document.querySelector('.readout').textContent")
    page.press(".map", "up")
    page.wait("document.querySelector('.readout').textContent.includes('not computed yet')")
    assert drawn(page, ".solid", "x", 1)[0] == []  # no height there to stand at
    page.press(".solid", "end")
    page.wait(at(6, 4))  # the minimum
    assert drawn(page, ".line", "x", 1) == [[first.x.values[6]]]
    eye = page.run("document.querySelector('.solid').layout.scene.camera.eye.x")
    page.press(".solid", "]")
    page.wait(f"[...document.querySelectorAll('.solid')].every((p) => p.layout.scene.camera.eye.x !== {eye})")
    page.run("document.querySelector('.map').scrollIntoView({block: 'center'})")
    page.hover(".map", 1, 1)
    page.wait(f"!({at(6, 4)})")  # the mouse over the map moves the marker of the surface too
    map_place, solid_place = (drawn(page, f".{kind}", "x", 1)[0] for kind in ("map", "solid"))
    assert map_place == solid_place


def check_width(page: Browser, folder: Path, width: int, height: int) -> None:
    page.run("scrollTo(0, 0)")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    boxes = page.run("[...document.querySelectorAll('.plot, select, button')].map((e) => e.getBoundingClientRect())")
    assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
    panels = page.run("new Set([...document.querySelectorAll('.panel')].map((e) => e.offsetLeft)).size")
    assert panels == (1 if width < 640 else 2)
    page.screenshot(folder / "page.png")
    with Image.open(folder / "page.png") as image:
        assert image.size == (width, height)
        colors = image.convert("RGB").getcolors(width * height)
    assert colors is not None
    assert len(colors) > 500  # the map's colours, shaded: something has been drawn in 3D
