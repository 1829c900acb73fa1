// Cover an image with tiles of a fixed size, without seams: what edgesr/upscaling/tiling.py does,
// for networks of a bounded receptive radius.

const RUN_PIXELS = 4096;
const nextMultiple = (length, multiple) => Math.ceil(length / multiple) * multiple;

// Tiles along one axis: {start, keepStart, keepStop} in pixels of the image; null where none fit.
export function coverAxis(length, tile, radius, multiple) {
  const fed = nextMultiple(length, multiple);
  if (fed <= tile) {
    if (fed === tile || length < 2 * radius || radius === 0) return link([0], [length]);
    return link([0, fed - tile], [Math.floor(length / 2), length]);
  }
  const step = Math.floor((tile - 2 * radius) / multiple) * multiple;
  if (step < 1) return null;
  const starts = [];
  for (let start = 0; start < fed - tile; start += step) starts.push(start);
  const stops = [...starts.map((start) => start + tile - radius), length];
  return link([...starts, fed - tile], stops);
}

function link(starts, stops) {
  return starts.map((start, index) => ({
    start, keepStart: index ? stops[index - 1] : 0, keepStop: stops[index],
  }));
}

// All tiles of an image, row by row.
export function cover(height, width, tile, model) {
  const rows = coverAxis(height, tile.height, model.radius, model.multiple);
  const columns = coverAxis(width, tile.width, model.radius, model.multiple);
  if (!rows || !columns) return null;
  return rows.flatMap((row) => columns.map((column) => ({row, column})));
}

// The file of a model whose tiles cost the fewest pixels for an image of this size.
export function chooseTile(model, height, width) {
  let best = null;
  for (const tile of model.tiles) {
    const pieces = cover(height, width, tile, model);
    if (!pieces) continue;
    // A run costs as some pixels do: of tiles that feed the same number, the larger ones are taken.
    const cost = pieces.length * (tile.height * tile.width + RUN_PIXELS);
    if (!best || cost < best.cost) best = {tile, pieces, cost};
  }
  return best;
}

// Continue an axis by reflection at both ends, as numpy.pad(mode="reflect").
function reflected(position, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const at = ((position % period) + period) % period;
  return Math.min(at, period - at);
}

// Pixels of a tile as the network takes them: RGB, height x width x 3, float32 in [0, 1].
export function readTile(rgba, height, width, piece, tile, into) {
  const columns = Array.from({length: tile.width},
    (_, x) => 4 * reflected(piece.column.start + x, width));
  let at = 0;
  for (let y = 0; y < tile.height; y++) {
    const line = 4 * width * reflected(piece.row.start + y, height);
    for (const column of columns) {
      into[at++] = rgba[line + column] / 255;
      into[at++] = rgba[line + column + 1] / 255;
      into[at++] = rgba[line + column + 2] / 255;
    }
  }
}

// Put the kept part of a tile's result into the image; rounding is to even, as numpy's.
export function writeTile(result, piece, tile, scale, rgba, width) {
  const {row, column} = piece;
  for (let y = scale * row.keepStart; y < scale * row.keepStop; y++) {
    let from = 3 * ((y - scale * row.start) * scale * tile.width
      + scale * (column.keepStart - column.start));
    let to = 4 * (y * scale * width + scale * column.keepStart);
    for (let x = scale * column.keepStart; x < scale * column.keepStop; x++) {
      rgba[to++] = 255 * result[from++];
      rgba[to++] = 255 * result[from++];
      rgba[to++] = 255 * result[from++];
      rgba[to++] = 255;
    }
  }
}
