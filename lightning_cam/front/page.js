"use strict";
/* One run over time. mount(element, source) draws it into an element; source = { portraits, checks }.
   A page of several runs leads them: led by show(...), a run has no slider, keys and place in the address of its own.
   Text of others reaches the page as text alone: through append and setAttribute, never as markup. */

const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;
const EVEN = 255 * Math.log2(2) / Math.log2(9); // place of the even share on the scale of the maps
const TWICE = 255 * Math.log2(3) / Math.log2(9); // a scale never ends below: even attention must look even
const OPACITY = 0.75; // the largest of the colours: the object stays in sight
const PLAY_MS = 450; // per check: long enough to see a map, and 40 checks in 18 seconds
const WORDS = {
  background_attention_ratio: "attention outside the object",
  probe_accuracy: "right on the probes",
  attention_drift: "change since the last check",
};
const VIEWS = { heat: "colours", spot: "spotlight", none: "picture only" };
const ORDERS = { drawn: "as drawn", outside: "most attention outside", drift: "most drift", doubt: "least sure of the true class" };

function make(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* 100 % is said of all alone, and 0 % of none. */
function percent(share) {
  if (share === null) return "undefined";
  const rounded = Math.round(100 * share);
  if (rounded === 100 && share < 1) return `${Math.floor(Math.min(1000 * share, 999)) / 10}\u00a0%`;
  return rounded === 0 && share > 0 ? "below 1\u00a0%" : `${rounded}\u00a0%`;
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/* The maps of a check, one array of cells for each probe; null where the check has none. */
function decoded(check) {
  if (!check.maps) return null;
  const all = bytes(check.maps), cells = check.size[0] * check.size[1];
  return check.predicted.map((_, i) => all.subarray(i * cells, (i + 1) * cells));
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
  const heat = [], spot = [];
  for (let cell = 0; cell < 256; cell += 1) {
    const place = Math.min(cell / end, 1);
    heat.push([...ramped(ramp, place), 255 * OPACITY * Math.min(place / 0.5, 1)]);
    spot.push([0, 0, 0, 255 * 0.94 * (1 - place) ** 1.2]);
  }
  return { heat, spot };
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
  const amount = (cell) => 9 ** (cell / 255) - 1;
  for (let i = 0; i < map.length; i += 1) {
    const a = amount(map[i]), b = amount(before[i]);
    both += a * b; one += a * a; other += b * b;
  }
  return one && other ? 1 - both / Math.sqrt(one * other) : 0;
}

function className(portraits, index) {
  return index < portraits.classes.length ? portraits.classes[index] : `class ${index}`;
}

/* ---- one probe ---- */

function tile(probe, portraits, i) {
  const picture = make("img", { src: probe.picture, alt: "" });
  picture.addEventListener("load", () => {
    if (picture.naturalWidth < 128 && picture.naturalHeight < 128) picture.className = "small";
    view.style.aspectRatio = `${picture.naturalWidth} / ${picture.naturalHeight}`;
  });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const outline = probe.outline ? [make("img", { src: probe.outline, alt: "" })] : [];
  const view = make("div", { class: "view" }, picture, canvas, ...outline);
  const answer = make("span", { class: "answer" }), chance = make("span"), outside = make("p");
  const part = make("svg:rect", { class: "part", height: 8, width: 0 });
  const share = make("svg:svg", { class: "share", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    make("svg:rect", { class: "all", height: 8, width: 100 }), part);
  if (probe.area !== null) share.append(make("svg:line", { class: "even", x1: 100 * probe.area, x2: 100 * probe.area, y1: 0, y2: 8 }));
  const item = make("li", { class: "probe" }, view,
    make("p", {}, answer, chance), outside, share, make("p", { class: "name", title: probe.name }, probe.name));
  function show(check, map, palette) {
    const known = Boolean(check && map), right = known && check.predicted[i] === probe.target;
    item.classList.toggle("right", right);
    item.classList.toggle("wrong", known && !right);
    canvas.hidden = !known || !palette || !map.some((cell) => cell > 0);
    if (!canvas.hidden) paint(canvas, map, check.size, palette);
    const predicted = known ? className(portraits, check.predicted[i]) : "";
    const target = className(portraits, probe.target);
    answer.textContent = known ? (right ? "right: " : "wrong: ") + predicted : "no map at this check";
    chance.textContent = known ? `, ${percent(check.certainty[i])}${right ? "" : `; it is ${target}`}` : "";
    const known_share = known && probe.area !== null && check.outside[i] !== null;
    share.toggleAttribute("hidden", !known_share);
    outside.textContent = known_share ? `${percent(check.outside[i])} of the attention outside`
      : known && !map.some((cell) => cell > 0) ? "no attention at all" : known && probe.area === null ? "no mask" : "";
    if (known_share) part.setAttribute("width", 100 * check.outside[i]);
  }
  return { item, probe, show };
}

/* ---- curves ---- */

function reliances(checks) {
  const keys = new Set(checks.flatMap((check) => Object.keys(check.values)));
  return [...keys].filter((key) => key.startsWith("reliance/") && keys.has(`${key}_low`));
}

function curve(key, title, checks, margin) {
  const steps = checks.map((check) => check.step), first = steps[0], span = Math.max(steps.at(-1) - first, 1);
  const isReliance = key.startsWith("reliance/"), bottom = isReliance ? -0.25 : 0;
  const x = (step) => 100 * (step - first) / span, y = (value) => 40 * (1 - (Math.min(Math.max(value, bottom), 1) - bottom) / (1 - bottom));
  const value = (check, end = "") => check.values[key + end] ?? null;
  const level = (at, kind) => make("svg:line", { class: kind, x1: 0, x2: 100, y1: y(at), y2: y(at) });
  const drawing = make("svg:svg", { viewBox: "0 -2 100 44", preserveAspectRatio: "none", "aria-hidden": "true" }, level(0, "zero"));
  if (isReliance) drawing.append(level(margin, "margin"));
  const whole = checks.filter((check) => value(check, "_low") !== null && value(check, "_high") !== null);
  if (isReliance && whole.length) {
    const high = whole.map((check) => `${x(check.step)},${y(value(check, "_high"))}`);
    const low = whole.map((check) => `${x(check.step)},${y(value(check, "_low"))}`).reverse();
    drawing.append(make("svg:polygon", { class: "band", points: [...high, ...low].join(" ") }));
  }
  const points = checks.filter((check) => value(check) !== null).map((check) => `${x(check.step)},${y(value(check))}`);
  const cursor = make("svg:line", { class: "cursor", y1: -2, y2: 42 });
  drawing.append(make("svg:polyline", { class: "trace", points: points.join(" ") }), cursor);
  const number = make("b");
  const figure = make("figure", { class: "curve" }, make("figcaption", {}, title, number), drawing);
  function show(check) {
    cursor.setAttribute("x1", x(check.step));
    cursor.setAttribute("x2", x(check.step));
    number.textContent = value(check) === null ? "not known" : value(check).toFixed(2);
  }
  const isHigh = isReliance && checks.some((check) => (value(check, "_low") ?? -1) > margin);
  return { figure, show, title, value, isFirst: isHigh || key in WORDS };
}

function curvesOf(checks, margin) {
  const seen = (key) => checks.some((check) => (check.values[key] ?? null) !== null);
  const cues = reliances(checks).filter(seen).map((key) => curve(key, `lost with another ${key.slice(9)}`, checks, margin));
  return [...cues, ...Object.keys(WORDS).filter(seen).map((key) => curve(key, WORDS[key], checks, margin))];
}

/* The curves for those who do not see them. */
function table(curves, checks) {
  const head = make("tr", {}, make("th", { scope: "col" }, "step"), ...curves.map((each) => make("th", { scope: "col" }, each.title)));
  const rows = checks.map((check) => make("tr", {}, make("th", { scope: "row" }, String(check.step)),
    ...curves.map((each) => make("td", {}, each.value(check) === null ? "-" : each.value(check).toFixed(2)))));
  return make("details", { class: "numbers" }, make("summary", {}, "The curves as a table"),
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

/* ---- what the address keeps ---- */

function readState(n, classes) {
  const kept = new URLSearchParams(location.hash.slice(1));
  const step = Number.parseInt(kept.get("check") ?? "", 10);
  return {
    at: step >= 1 && step <= n ? step - 1 : n - 1,
    view: Object.hasOwn(VIEWS, kept.get("view")) ? kept.get("view") : "heat",
    order: Object.hasOwn(ORDERS, kept.get("sort")) ? kept.get("sort") : "drawn",
    of: classes.includes(Number(kept.get("class") ?? NaN)) ? Number(kept.get("class")) : null,
    wrong: kept.get("wrong") === "1",
  };
}

function writeState(state) {
  const kept = new URLSearchParams({ check: state.at + 1, view: state.view, sort: state.order });
  if (state.of !== null) kept.set("class", state.of);
  if (state.wrong) kept.set("wrong", "1");
  history.replaceState(null, "", `#${kept}`);
}

/* ---- controls ---- */

function choice(label, options, chosen, change) {
  const select = make("select", {}, ...Object.entries(options).map(([value, text]) => make("option", { value }, text)));
  select.value = chosen;
  select.addEventListener("change", () => change(select.value));
  return make("label", {}, `${label} `, select);
}

function legend(palettesOfRun, end) {
  const canvas = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const most = (9 ** (end / 255) - 1).toFixed(1).replace(/\.0$/, "");
  const box = make("span", { class: "legend" }), words = make("span"), none = make("span", {}, "no attention");
  box.append(none, canvas, words);
  function show(view) {
    box.hidden = view === "none";
    if (box.hidden) return;
    paint(canvas, Uint8Array.from({ length: 256 }, (_, i) => i * end / 255), [1, 256], palettesOfRun[view]);
    words.textContent = `${most} times the even share${end >= 255 ? " and more" : ""}`;
  }
  return { box, show };
}

function player(bar, step, rest) {
  let timer = null;
  const button = make("button", { type: "button" }, "▶ Play");
  function stop() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    button.textContent = "▶ Play";
    rest();
  }
  function toggle() {
    if (timer !== null) return stop();
    button.textContent = "⏸ Pause";
    step(true);
    timer = setInterval(() => step(false) || stop(), PLAY_MS);
    return undefined;
  }
  button.addEventListener("click", toggle);
  bar.append(button);
  return { stop, toggle, isPlaying: () => timer !== null };
}

/* ---- the whole ---- */

function mount(element, source, { led = false, end = scaleEnd(source.checks.map(decoded)) } = {}) {
  const { portraits, checks } = source;
  if (!portraits || !checks.length) return null;
  const maps = checks.map(decoded), palette = palettes(portraits.ramp, end);
  const classes = [...new Set(portraits.probes.map((probe) => probe.target))].sort((a, b) => a - b);
  let state = led ? { at: checks.length - 1, view: "heat", order: "drawn", of: null, wrong: false } : readState(checks.length, classes);
  const tiles = portraits.probes.map((probe, i) => tile(probe, portraits, i));
  const curves = curvesOf(checks, portraits.margin);
  const scale = legend(palette, end);
  const grid = make("ul", { class: "probes" }), none = make("p", { hidden: "" }, "No probe is shown with these filters.");
  const bar = make("div", { class: "bar" }), label = make("output");
  const slider = make("input", { type: "range", min: 0, max: checks.length - 1, step: 1, "aria-label": "check of the training" });

  function go(at) {
    state.at = Math.min(Math.max(at, 0), checks.length - 1);
    draw();
  }
  const play = player(bar, (start) => {
    const next = start && state.at === checks.length - 1 ? 0 : state.at + 1;
    go(next);
    return next < checks.length - 1;
  }, () => draw());
  /* A check without maps shows those of the check before. */
  function mapsAt(at) {
    while (at > 0 && !maps[at]) at -= 1;
    return at;
  }
  function weight(i) {
    const at = mapsAt(state.at), check = checks[at];
    if (!maps[at] || state.order === "drawn") return -i;
    if (state.order === "outside") return check.outside[i] ?? -1;
    if (state.order === "doubt") return -(check.own[i] ?? 0);
    const before = at > 0 && maps[mapsAt(at - 1)];
    return drift(maps[at][i], before && before[i]);
  }
  function arrange() {
    const ranked = tiles.map((each, i) => [weight(i), each]).sort((a, b) => b[0] - a[0]);
    grid.replaceChildren(...ranked.map(([, each]) => each.item));
  }
  function draw() {
    const check = checks[state.at], at = mapsAt(state.at);
    tiles.forEach((each, i) => {
      each.show(checks[at].predicted ? checks[at] : null, maps[at] && maps[at][i], palette[state.view]);
      const isOther = state.of !== null && each.probe.target !== state.of;
      each.item.hidden = isOther || (state.wrong && !each.item.classList.contains("wrong"));
    });
    none.hidden = tiles.some((each) => !each.item.hidden);
    curves.forEach((each) => each.show(check));
    scale.show(state.view);
    label.textContent = `check ${state.at + 1} of ${checks.length}, step ${check.step}, epoch ${check.epoch}`;
    slider.value = state.at;
    slider.setAttribute("aria-valuetext", label.textContent);
    if (!play.isPlaying()) {
      arrange();
      if (!led) writeState(state);
    }
  }
  function show(change) {
    Object.assign(state, change);
    draw();
  }

  const [first, rest] = [true, false].map((isFirst) => curves.filter((each) => each.isFirst === isFirst));
  const panel = (some) => make("div", { class: "curves" }, ...some.map((each) => each.figure));
  const below = [...(rest.length ? [make("h3", { class: "more" }, "The other cues, over time"), panel(rest)] : []), table(curves, checks)];
  if (led) {
    element.append(label, panel(first), grid, none, ...below);
    draw();
    return { checks, classes, portraits, show };
  }
  slider.addEventListener("input", () => { play.stop(); go(Number(slider.value)); });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("select, summary, pre, input:not([type=range])");
    const moves = { ArrowLeft: state.at - 1, ArrowRight: state.at + 1, Home: 0, End: checks.length - 1 };
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key in moves) { event.preventDefault(); play.stop(); go(moves[event.key]); }
    if (event.key === " " && !event.target.closest("button")) { event.preventDefault(); play.toggle(); }
  });
  window.addEventListener("hashchange", () => { play.stop(); state = readState(checks.length, classes); build(); draw(); });

  const options = make("div", { class: "options" });
  function build() {
    const names = { "": "all classes", ...Object.fromEntries(classes.map((index) => [index, className(portraits, index)])) };
    const wrong = make("input", { type: "checkbox" });
    wrong.checked = state.wrong;
    wrong.addEventListener("change", () => { state.wrong = wrong.checked; draw(); });
    options.replaceChildren(
      choice("Show", VIEWS, state.view, (value) => { state.view = value; draw(); }),
      choice("of", names, state.of ?? "", (value) => { state.of = value === "" ? null : Number(value); draw(); }),
      make("label", {}, wrong, " wrong only"),
      choice("Sort by", ORDERS, state.order, (value) => { state.order = value; draw(); }),
      scale.box,
    );
  }
  build();
  bar.append(slider, label);
  const masked = portraits.probes.some((probe) => probe.area !== null);
  const how = make("p", {}, "The colours show the attention for the true class. Arrow keys step, the space bar plays.",
    ...(masked ? [" The bar under a picture is the attention outside the object; its mark is where even attention would end."] : []));
  element.append(make("h2", {}, "Where the model looks, over time"), bar, panel(first), options, grid, none, how, ...below);
  draw();
  return { checks, classes, portraits, show };
}
