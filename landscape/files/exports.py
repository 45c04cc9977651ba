"""Grids for other tools: a VTK surface for ParaView, a long table for everything else."""

import base64
import csv
import io
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from landscape.files.grid import Grid, Indices

TYPES = {"f8": "Float64", "i8": "Int64", "u1": "UInt8"}
CSV_HEADER = ("plane", "y", "x", "metric", "value", "stderr", "done", "evaluated")


def to_csv(grid: Grid, metrics: list[str], only: int | None = None) -> str:
    """The grid, or one plane `only`, in long format: a row for each plane, y, x and metric.

    Numbers are written so that `float` reads them back exactly; `done` and `evaluated` are 0 or 1.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for index in np.ndindex(*grid.shape):
        plane, row, column = index
        if only not in (None, plane):
            continue
        place = (plane, repr(float(grid.y.values[row])), repr(float(grid.x.values[column])))
        state = (int(grid.done[index]), int(grid.evaluated[index]))
        for name in metrics:
            numbers = (repr(float(grid.values[name][index])), repr(float(grid.stderr[name][index])))
            writer.writerow((*place, name, *numbers, *state))
    return text.getvalue()


def to_vtk(grid: Grid, metric: str, plane: int, log: bool) -> str:
    """One plane as a VTK XML PolyData (.vtp): x, y and as height `metric`, or its log10; all metrics as point data.

    A quadrilateral (on a line, a segment) joins points that all have a height; a point that has none, not done or
    diverged, has the lowest height and belongs to no cell. Arrays are base64 without compression.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.log10(grid.values[metric][plane]) if log else grid.values[metric][plane]
    known = grid.done[plane] & np.isfinite(height)
    height = np.where(known, height, height[known].min() if known.any() else 0.0)
    x, y = np.meshgrid(grid.x.values, grid.y.values)
    points = np.stack([x, y, height], 2).reshape(-1, 3)
    lines, quads = cells(known)
    data = {name: values[plane] for name, values in grid.values.items()}
    data |= {f"{name}_stderr": values[plane] for name, values in grid.stderr.items()}
    flags = {"done": grid.done[plane], "evaluated": grid.evaluated[plane]}
    arrays = [_array(name, values.ravel()) for name, values in data.items()]
    arrays += [_array(name, values.ravel().astype(np.uint8)) for name, values in flags.items()]
    return (
        '<?xml version="1.0"?>\n'
        '<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n<PolyData>\n'
        f'<Piece NumberOfPoints="{len(points)}" NumberOfVerts="0" NumberOfLines="{len(lines)}" NumberOfStrips="0" '
        f'NumberOfPolys="{len(quads)}">\n'
        f"<PointData Scalars={quoteattr(metric)}>\n{''.join(arrays)}</PointData>\n"
        f"<Points>\n{_array('Points', points)}</Points>\n"
        f"<Lines>\n{_cell_arrays(lines)}</Lines>\n<Polys>\n{_cell_arrays(quads)}</Polys>\n"
        "</Piece>\n</PolyData>\n</VTKFile>\n"
    )


def cells(known: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Segments (L, 2) and quadrilaterals (Q, 4), by number of point, joining neighbours that are all known."""
    number = np.arange(known.size, dtype=np.int64).reshape(known.shape)
    if min(known.shape) == 1:
        line, there = number.ravel(), known.ravel()
        return np.stack([line[:-1], line[1:]], 1)[there[:-1] & there[1:]], np.zeros((0, 4), np.int64)
    here, after = slice(None, -1), slice(1, None)
    corners = [(here, here), (here, after), (after, after), (after, here)]  # counter-clockwise, seen from above
    whole = np.all([known[corner] for corner in corners], axis=0)
    return np.zeros((0, 2), np.int64), np.stack([number[corner][whole] for corner in corners], 1)


def _cell_arrays(members: Indices) -> str:
    offsets = members.shape[1] * np.arange(1, len(members) + 1, dtype=np.int64)
    return _array("connectivity", members.ravel()) + _array("offsets", offsets)


def _array(name: str, values: NDArray[np.generic]) -> str:
    """A DataArray of one component, or of as many as `values` has columns: its length in bytes, then its bytes."""
    kind = f"{values.dtype.kind}{values.dtype.itemsize}"
    content = values.astype(values.dtype.newbyteorder("<")).tobytes()
    coded = base64.b64encode(np.array([len(content)], "<u8").tobytes() + content).decode()
    components = values.shape[1] if values.ndim == 2 else 1
    return (
        f'<DataArray type="{TYPES[kind]}" Name={quoteattr(name)} NumberOfComponents="{components}" format="binary">'
        f"{coded}</DataArray>\n"
    )
