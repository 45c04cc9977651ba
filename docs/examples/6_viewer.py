"""
Surfaces to turn and read
=========================

One HTML page with surfaces of several models, their values and standard errors, that opens without a network. Here it
is the page itself, of the ResNet in two ways of training.
"""

# sphinx_gallery_thumbnail_path = 'docs/viewer.png'

import landscape
import pictures

grids = []
for name, count in (("256 images", 256), ("64 images", 64)):
    images, kinds = pictures.stripes(count, seed=1)
    model = pictures.train(images, kinds)
    test = landscape.Samples(*pictures.stripes(200, seed=2))
    metrics = pictures.problem().metrics
    problem = landscape.Problem(model, {"test": test}, metrics, name)
    grids.append((name, landscape.compute(problem, "-1:1:15", "-1:1:15", metrics=["loss", "confidence"], threads=1)))

# %%
# The command is `python -m figures.viewer a.h5 b.h5 --out view.html`.

import tempfile
from pathlib import Path

from figures.viewer import page, plotly_script

view = Path(tempfile.mkdtemp()) / "view.html"
view.write_text(page(grids, plotly_script()))
print(f"{view.stat().st_size / 1e6:.1f} MB")

# %%
# .. raw:: html
#
#    <iframe src="../../view.html" title="Two surfaces, to turn" style="width: 100%; height: 60em"></iframe>
#
# Its keys and switches: :doc:`/docs/viewer`.
