/* Maps: from bytes to colours, on one scale for the whole run. */

const TWICE = 255 * Math.log2(3) / Math.log2(9); // a scale never ends below: even attention must look even
const MORE = [255, 140, 0], LESS = [20, 120, 230]; // orange and blue: told apart by every kind of colour vision
const VEIL = [38, 44, 78]; // over what is not looked at: dark enough for white, and seen on black
const OPACITY = 0.75; // the largest of the colours: the object stays in sight

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/* The maps of a check, one array of cells for each probe; null where the check has none. */
function decoded(check) {
  if (!check.maps) return null;
  const all = bytes(check.maps), cells = check.size[0] * check.size[1];
  return check.predicted.map((_, i) => all.subarray(i * cells, (i + 1) * cells));
}

/* The maps of the predicted class, by probe: those alone that were taken for another class have one. */
function mistaken(check) {
  const found = new Map();
  if (!check.mistaken) return found;
  const all = bytes(check.mistaken.maps), cells = check.size[0] * check.size[1];
  check.mistaken.rows.forEach((row, i) => found.set(row, all.subarray(i * cells, (i + 1) * cells)));
  return found;
}

/* In multiples of the even share. */
function amount(cell) {
  return 9 ** (cell / 255) - 1;
}

/* Where the predicted class has more attention than the true one: 128 is the same, 255 and 1 are the end of the scale. */
function difference(map, other, end) {
  return map.map((cell, i) => 128 + 127 * Math.max(-1, Math.min(1, (amount(other[i]) - amount(cell)) / amount(end))));
}

/* Where the scale of the colours ends: only one cell in 200 of the whole run lies above. */
function scaleEnd(maps) {
  const counts = new Float64Array(256);
  for (const check of maps) for (const map of check || []) for (const cell of map) counts[cell] += 1;
  let left = counts.reduce((sum, n) => sum + n, 0) / 200, end = 255;
  while (end > TWICE && (left -= counts[end]) > 0) end -= 1;
  return Math.max(end, TWICE);
}

function ramped(ramp, place) {
  const x = Math.min(place, 1) * (ramp.length - 1), i = Math.min(Math.floor(x), ramp.length - 2);
  return ramp[i].map((channel, k) => channel + (x - i) * (ramp[i + 1][k] - channel));
}

/* For each byte of a map its colour and opacity. */
function palettes(ramp, end) {
  const heat = [], spot = [], gap = [];
  for (let cell = 0; cell < 256; cell += 1) {
    const place = Math.min(cell / end, 1);
    heat.push([...ramped(ramp, place), 255 * OPACITY * Math.min(place / 0.5, 1)]);
    spot.push([...VEIL, 255 * 0.9 * (1 - Math.min(place / 0.85, 1))]);
    const more = (cell - 128) / 127;
    gap.push([...(more > 0 ? MORE : LESS), 255 * 0.85 * Math.min(1.5 * Math.abs(more), 1)]);
  }
  return { heat, spot, gap };
}

function paint(canvas, map, size, palette) {
  [canvas.height, canvas.width] = size;
  const image = new ImageData(size[1], size[0]);
  map.forEach((cell, i) => image.data.set(palette[cell], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/* 1 minus the cosine of two maps, as amounts of attention. */
function drift(map, before) {
  if (!map || !before || map.length !== before.length) return 0;
  let both = 0, one = 0, other = 0;
  for (let i = 0; i < map.length; i += 1) {
    const a = amount(map[i]), b = amount(before[i]);
    both += a * b; one += a * a; other += b * b;
  }
  return one && other ? 1 - both / Math.sqrt(one * other) : 0;
}
