// Bicubic interpolation (a = -0.5, the one of Pillow and MATLAB), for comparison.

function weights(phase) {
  const cubic = (x) => {
    const t = Math.abs(x);
    if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
    return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
  };
  return [-1, 0, 1, 2].map((tap) => cubic(tap - phase));
}

// For every pixel of the result along an axis: the first of four source pixels, and their weights.
function taps(length, scale) {
  return Array.from({length: length * scale}, (_, at) => {
    const source = (at + 0.5) / scale - 0.5;
    const first = Math.floor(source);
    return {
      from: [-1, 0, 1, 2].map((tap) => Math.min(length - 1, Math.max(0, first + tap))),
      weights: weights(source - first),
    };
  });
}

// RGBA, height x width, to RGBA scale times as large.
export function bicubic(rgba, height, width, scale) {
  const columns = taps(width, scale);
  const rows = taps(height, scale);
  const wide = new Float32Array(3 * height * columns.length);
  for (let y = 0, to = 0; y < height; y++) {
    for (const {from, weights: w} of columns) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let i = 0; i < 4; i++) sum += w[i] * rgba[4 * (y * width + from[i]) + c];
        wide[to++] = sum;
      }
    }
  }
  const result = new Uint8ClampedArray(4 * rows.length * columns.length);
  const stride = 3 * columns.length;
  let to = 0;
  for (const {from, weights: w} of rows) {
    for (let x = 0; x < columns.length; x++) {
      for (let c = 0; c < 3; c++) {
        const at = 3 * x + c;
        result[to++] = w[0] * wide[from[0] * stride + at] + w[1] * wide[from[1] * stride + at]
          + w[2] * wide[from[2] * stride + at] + w[3] * wide[from[3] * stride + at];
      }
      result[to++] = 255;
    }
  }
  return result;
}
