"use strict";
/* Masks to look at and to correct. A mask is an array of 0 and 1, row after row; in files it is runs, column after column. */

function unpack(counts, [height, width]) {
  const mask = new Uint8Array(height * width);
  let at = 0, inside = 0;
  for (const count of counts) {
    if (inside) for (let i = at; i < at + count; i += 1) mask[(i % height) * width + Math.floor(i / height)] = 1;
    at += count;
    inside = 1 - inside;
  }
  return mask;
}

function pack(mask, [height, width]) {
  const counts = [0];
  let inside = 0;
  for (let i = 0; i < height * width; i += 1) {
    const value = mask[(i % height) * width + Math.floor(i / height)];
    if (value !== inside) { counts.push(0); inside = value; }
    counts[counts.length - 1] += 1;
  }
  return counts;
}

/* A mask with a box in shares of the picture; every pixel that the box touches is inside. */
function withBox(mask, [height, width], [left, top, right, bottom]) {
  const added = mask.slice();
  for (let y = Math.floor(top * height); y < Math.min(Math.ceil(bottom * height), height); y += 1) {
    added.fill(1, y * width + Math.floor(left * width), y * width + Math.min(Math.ceil(right * width), width));
  }
  return added;
}

/* A mask whose outline lies further out, or in where `steps` is below 0. Beyond the picture all is inside. */
const STEP = 0.015; // of the shorter side: one pixel of 64

function moved(mask, [height, width], steps) {
  const inside = steps > 0 ? 1 : 0;
  let now = mask;
  for (let n = Math.max(1, Math.round(STEP * Math.min(height, width))) * Math.abs(steps); n > 0; n -= 1) {
    const before = now;
    now = before.map((value, i) => {
      const x = i % width, y = Math.floor(i / width);
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row += 1) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column += 1) {
          if (before[row * width + column] === inside) return inside;
        }
      }
      return value;
    });
  }
  return now.includes(1) ? now : mask;
}

/* Outside dark, and a line on two grounds around the inside. */
function paintMask(canvas, mask, [height, width]) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  const has = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const beside = [has(x - 1, y), has(x + 1, y), has(x, y - 1), has(x, y + 1)], i = 4 * (y * width + x);
      if (!has(x, y)) image.data[i + 3] = beside.some(Boolean) ? 255 : 90;
      else if (!beside.every(Boolean)) image.data.set([255, 255, 255, 255], i);
    }
  }
  context.putImageData(image, 0, 0);
}

function pressed(text, act, attributes = {}) {
  const button = make("button", { type: "button", ...attributes }, text);
  button.addEventListener("click", act);
  return button;
}

/* A picture with its mask, as a tile. */
function reviewTile(picture, i, open) {
  const state = { mask: unpack(picture.counts, picture.grid), before: [], isOut: false, isRight: false };
  const { view, canvas } = layered(picture, "button");
  const said = make("p"), item = make("li", { class: "probe" }, view, make("p", { class: "name", title: picture.file }, picture.file), said);
  const hasMask = () => state.mask.includes(1);
  function show() {
    canvas.hidden = !hasMask();
    if (!canvas.hidden) paintMask(canvas, state.mask, picture.grid);
    const word = state.isOut ? "left out" : !hasMask() ? "no mask: draw a box" : state.isRight ? "right" : state.before.length ? "corrected" : sourceWord(picture.source);
    item.classList.toggle("wrong", !state.isOut && !hasMask());
    item.classList.toggle("out", state.isOut);
    item.classList.toggle("right", state.isRight && !state.isOut && hasMask());
    said.textContent = word;
    view.setAttribute("aria-label", `${picture.file}: ${word}; correct it`);
  }
  view.setAttribute("type", "button");
  view.addEventListener("click", () => open(i));
  function change(mask) {
    state.before.push(state.mask);
    state.mask = mask;
    state.isRight = false;
    show();
  }
  show();
  return { item, view, picture, state, hasMask, show, change };
}

function layered(picture, tag) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const view = make(tag, { class: "view" }, make("img", { src: picture.picture, alt: "" }), canvas);
  view.style.aspectRatio = `${picture.size[1]} / ${picture.size[0]}`;
  return { view, canvas };
}

/* One picture, large: boxes are dragged, or typed in per cent. */
function reviewDialog(tiles, changed) {
  const title = make("h3", { tabindex: -1 }), said = make("p", { "aria-live": "polite" }), stage = make("div", { class: "stage" });
  const sides = ["left", "top", "right", "bottom"].map((side) => make("input", { type: "number", min: 0, max: 100, value: side === "right" || side === "bottom" ? 100 : 0, "aria-label": `${side}, in per cent` }));
  const out = make("input", { type: "checkbox" });
  const dialog = make("dialog", { class: "review" },
    make("div", { class: "head" }, title, pressed("‹", () => turn(-1), { "aria-label": "the picture before" }),
      pressed("›", () => turn(1), { "aria-label": "the next picture" }), pressed("✕", shut, { "aria-label": "close" })),
    make("p", {}, "Drag a box over each part of the object that lies outside the line. If there is room around the object, make the line tighter."), stage, said,
    make("div", { class: "options" }, pressed("Right, next", right), pressed("Tighter", () => move(-1)), pressed("Wider", () => move(1)), pressed("Undo", undo),
      pressed("Draw it anew", () => change(new Uint8Array(tile().state.mask.length))), make("label", {}, out, " leave this picture out")),
    make("p", { class: "how" }, "Keys: R right, T tighter, W wider, U undo, O leave out, ← and → the picture before and the next."),
    make("details", {}, make("summary", {}, "A box without a mouse"),
      make("div", { class: "options typed" }, ...sides.map((input, i) => make("label", {}, ["left ", "top ", "right ", "bottom "][i], input, " %")), pressed("Add the box", typed))));
  let at = 0, canvas = null;
  const tile = () => tiles[at];
  function turn(by) {
    open((at + by + tiles.length) % tiles.length);
  }
  function change(mask) {
    tile().change(mask);
    show();
  }
  function move(steps) {
    change(moved(tile().state.mask, tile().picture.grid, steps));
  }
  function undo() {
    if (tile().state.before.length) tile().state.mask = tile().state.before.pop();
    tile().state.isRight = false;
    show();
  }
  function right() {
    tile().state.isRight = tile().hasMask();
    tile().state.isOut = false;
    show();
    if (at < tiles.length - 1) turn(1);
    else shut();
  }
  function leaveOut() {
    tile().state.isOut = !tile().state.isOut;
    show();
  }
  function typed() {
    const [left, top, right, bottom] = sides.map((input) => Math.min(Math.max(Number(input.value) / 100, 0), 1));
    if (left < right && top < bottom) change(withBox(tile().state.mask, tile().picture.grid, [left, top, right, bottom]));
    else said.textContent = "The box is empty: left must be below right, and top below bottom.";
  }
  function show() {
    const { state, picture, hasMask } = tile();
    canvas.hidden = !hasMask();
    if (hasMask()) paintMask(canvas, state.mask, picture.grid);
    const share = state.mask.reduce((sum, value) => sum + value, 0) / state.mask.length;
    out.checked = state.isOut;
    said.textContent = state.isOut ? "This picture is left out." : hasMask() ? `The object takes ${percent(share)} of the picture.` : "This picture has no mask yet, and is left out.";
    tile().show();
    changed();
  }
  function open(i) {
    at = i;
    const { picture } = tile(), layers = layered(picture, "div");
    const box = make("div", { class: "drawn", hidden: "" });
    canvas = layers.canvas;
    layers.view.style.width = `min(100%, 720px, ${64 * picture.size[1] / picture.size[0]}vh)`;
    layers.view.append(box);
    dragged(layers.view, box, (shares) => change(withBox(tile().state.mask, picture.grid, shares)));
    stage.replaceChildren(layers.view);
    title.textContent = picture.file;
    show();
    if (!dialog.open) dialog.showModal();
    title.focus();
  }
  out.addEventListener("change", leaveOut);
  function shut() { // the event may come later than a person goes on
    dialog.close();
    tile().view.focus();
  }
  dialog.addEventListener("close", () => tile().view.focus()); // the Escape key
  dialog.addEventListener("keydown", (event) => {
    const act = { ArrowLeft: () => turn(-1), ArrowRight: () => turn(1), r: right, t: () => move(-1), w: () => move(1), u: undo, o: leaveOut }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act && event.target.type !== "number" && !(event.ctrlKey || event.metaKey || event.altKey)) act();
  });
  return { dialog, open };
}

/* Calls act with left, top, right, bottom in shares of the element, when a box was dragged over it. */
function dragged(element, box, act) {
  let start = null;
  const shares = (event) => {
    const { left, top, width, height } = element.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height].map((share) => Math.min(Math.max(share, 0), 1));
  };
  const between = (end) => [Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.max(start[0], end[0]), Math.max(start[1], end[1])];
  function move(event) {
    const [left, top, right, bottom] = between(shares(event));
    Object.assign(box.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
    box.hidden = false;
  }
  function stop(event) {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", stop);
    window.removeEventListener("pointercancel", stop);
    box.hidden = true;
    const [left, top, right, bottom] = between(shares(event));
    if (event.type === "pointerup" && right - left > 0.005 && bottom - top > 0.005) act([left, top, right, bottom]);
  }
  element.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    start = shares(event);
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
    window.addEventListener("pointercancel", stop);
  });
}

/* The pictures of a class, and what can be done with all of them at once. */
function ofClass(label, tiles, changed) {
  const each = (act) => () => {
    for (const tile of tiles.filter((one) => one.hasMask() && !one.state.isOut)) { act(tile); tile.show(); }
    changed();
  };
  const all = (steps) => each((tile) => tile.change(moved(tile.state.mask, tile.picture.grid, steps)));
  const sheet = make("ul", { class: "probes sheet" }, ...tiles.map((tile) => tile.item));
  return make("section", { "aria-label": label }, make("h2", {}, `${label}: ${tiles.length === 1 ? "1 picture" : `${tiles.length} pictures`}`),
    make("div", { class: "options" }, pressed("All of this class are right", each((tile) => { tile.state.isRight = true; })),
      pressed("All tighter", all(-1)), pressed("All wider", all(1))), sheet);
}

function reviewed(element, source) {
  const labels = [...new Set(source.pictures.map((picture) => picture.label))];
  const order = (picture) => 2 * labels.indexOf(picture.label) + (picture.counts.length > 0); // without a mask first
  const ordered = [...source.pictures].sort((a, b) => order(a) - order(b));
  const tiles = ordered.map((picture, i) => reviewTile(picture, i, (at) => dialog.open(at)));
  const state = make("p", { "aria-live": "polite" }), next = make("section", { hidden: "" });
  const dialog = reviewDialog(tiles, count);
  const kept = () => tiles.filter((tile) => tile.hasMask() && !tile.state.isOut);
  const sheets = labels.map((label) => ofClass(label, tiles.filter((tile) => tile.picture.label === label), count));
  let isSaved = true;
  function count() {
    const without = tiles.filter((tile) => !tile.hasMask()).length, n = tiles.filter((tile) => tile.state.before.length).length;
    const out = tiles.filter((tile) => tile.state.isOut).length, right = kept().filter((tile) => tile.state.isRight).length;
    state.textContent = `${kept().length} of ${tiles.length} pictures will be used: ${n} corrected, ${out} left out, ${without} without a mask.${right ? ` You called ${right} right.` : ""}`;
    isSaved = false;
  }
  function save() {
    const pictures = kept().map(({ picture: { file, size, grid }, state: { mask } }) => ({ file, size, grid, counts: pack(mask, grid) }));
    const text = JSON.stringify({ form: source.form, version: source.version, pictures });
    const link = make("a", { download: "masks.json", href: URL.createObjectURL(new Blob([text], { type: "application/json" })) });
    link.click();
    isSaved = true;
    next.hidden = false;
  }
  next.append(make("h2", {}, "Then"), make("p", {}, "Judge the model again with these masks. It is not trained anew:"),
    make("pre", { tabindex: 0 }, `lightning-cam examine CHECKPOINT --model package.module:Net --data ${source.folder} --masks masks.json`),
    make("p", {}, "For a training on a folder: Probe.from_folder(folder, masks=\"masks.json\"). On the probe of a run: Probe.load(folder).with_reviewed(\"masks.json\")."));
  element.append(make("div", { class: "bar saving" }, state, pressed("No object is outside: save masks.json", save)), ...sheets, next, dialog.dialog);
  window.addEventListener("beforeunload", (event) => { if (!isSaved) event.preventDefault(); });
  count();
  isSaved = true;
}

reviewed(document.getElementById("masks"), JSON.parse(document.getElementById("source").textContent));
