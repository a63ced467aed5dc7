"""A page of attention maps: one layer and head at a time, chosen by the reader."""

from __future__ import annotations

import json
from string import Template

import numpy as np
from numpy.typing import NDArray

from asrkit.plot.files import as_data_url, escaped

_MAX_PIXELS = 6_000_000  # of all maps together; what is larger is averaged down
_MAX_SIDE = 400


def draw_attention(
    maps: NDArray[np.float32], *, title: str, duration: float, below: str = ""
) -> str:
    """Draw attention maps as an HTML page without references to anything outside of it.

    Args:
        maps: (layers, H, F, F) weights; rows are the frames that look, columns what they look at.
        title: what the page is about.
        duration: of the F frames, in seconds.
        below: an SVG document to show under the maps.

    Returns:
        The page. Arrow keys change layer and head; the darkest level is the largest weight of a
        map, and levels are square roots, so that weak attention is seen.
    """
    num_layers, num_heads, num_frames, _ = maps.shape
    side = int((_MAX_PIXELS / (num_layers * (num_heads + 1))) ** 0.5)
    step = -(-num_frames // max(1, min(side, _MAX_SIDE)))
    small = _averaged(maps, step)
    images = [[_image(layer.mean(axis=0)), *(_image(head) for head in layer)] for layer in small]
    heads = ["mean of all", *(str(head) for head in range(1, num_heads + 1))]
    return _PAGE.substitute(
        title=escaped(title),
        layers="".join(f"<option>{n}</option>" for n in range(1, num_layers + 1)),
        heads="".join(f"<option>{name}</option>" for name in heads),
        about=f"{num_layers} layers, {num_heads} heads, {num_frames} frames of "
        f"{1000 * duration / num_frames:.0f} ms" + (f", {step} in one pixel" if step > 1 else ""),
        images=json.dumps(images),
        duration=json.dumps(round(duration, 3)),
        below=below,
    )


def _averaged(maps: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Maps (..., F, F) with squares of `step` frames each way averaged; F is cut to fit."""
    if step == 1:
        return maps
    size = maps.shape[-1] // step
    cut = maps[..., : size * step, : size * step]
    blocks = cut.reshape(*maps.shape[:2], size, step, size, step)
    return np.asarray(blocks.mean(axis=(3, 5)))


def _image(weights: NDArray[np.float32]) -> str:
    levels = 255 * np.sqrt(weights / max(float(weights.max()), 1e-9))
    return as_data_url(levels.astype(np.uint8))


_PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>$title</title>
<style>
:root{color-scheme:light dark;--ink:#1b2733;--soft:#5b6b7a;--page:#fff;--edge:#c9d3dc}
@media (prefers-color-scheme:dark){
:root{--ink:#e6edf3;--soft:#9fb0c0;--page:#11181f;--edge:#33404c}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);
margin:0 auto;max-width:60rem;padding:1.2rem}
h1{font-size:1.2rem;margin:0 0 .2rem}p{color:var(--soft);margin:.2rem 0 1rem}
label{margin-right:1.2rem}select{font:inherit;padding:.15rem .4rem}
figure{margin:1rem 0 0;display:grid;gap:.3rem .5rem;
justify-content:start;grid-template-columns:max-content minmax(0,34rem)}
figure img{width:100%;aspect-ratio:1;image-rendering:pixelated;border:1px solid var(--edge);
background:#fff;cursor:crosshair}
.y{writing-mode:vertical-rl;transform:rotate(180deg);text-align:center;color:var(--soft)}
.x{grid-column:2;display:flex;justify-content:space-between;color:var(--soft)}
output{grid-column:2;min-height:1.4em;font-variant-numeric:tabular-nums}
.below{overflow-x:auto;margin-top:1.5rem;background:#fff}
</style></head><body>
<h1>$title</h1><p>$about. Arrow keys change layer and head.</p>
<label>Layer <select id="layer">$layers</select></label>
<label>Head <select id="head">$heads</select></label>
<figure><div class="y">the frame that looks</div><img id="map" alt="attention map">
<div class="x"><span>0 s</span><span>what it looks at</span><span id="end"></span></div>
<output id="where">Point at the map to read times.</output></figure>
<div class="below">$below</div>
<script>
const images = $images, duration = $duration;
const [layer, head, map, where] = ["layer", "head", "map", "where"].map(
  name => document.getElementById(name));
document.getElementById("end").textContent = duration.toFixed(2) + " s";
function show() {
  map.src = images[layer.selectedIndex][head.selectedIndex];
  map.alt = "attention of layer " + layer.value + ", head " + head.value;
}
function move(list, by) {
  list.selectedIndex = Math.max(0, Math.min(list.length - 1, list.selectedIndex + by));
  show();
}
layer.onchange = head.onchange = show;
document.onkeydown = event => {
  const moves = {ArrowUp: [layer, -1], ArrowDown: [layer, 1], ArrowLeft: [head, -1],
                 ArrowRight: [head, 1]};
  if (event.target.tagName !== "SELECT" && moves[event.key]) {
    move(...moves[event.key]);
    event.preventDefault();
  }
};
map.onmousemove = event => {
  const box = map.getBoundingClientRect();
  const at = (offset, size) => (Math.max(0, Math.min(1, offset / size)) * duration).toFixed(2);
  where.textContent = "at " + at(event.clientY - box.top, box.height) + " s looks at " +
    at(event.clientX - box.left, box.width) + " s";
};
show();
</script></body></html>
""")
