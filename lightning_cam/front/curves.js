/* Scalars over time. */

const WORDS = {
  background_attention_ratio: "attention outside the object",
  probe_accuracy: "right on the probe's pictures",
  attention_drift: "change since the last check",
};

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
  if (checks.length === 1) drawing.setAttribute("hidden", ""); // a figure alone is no curve
  const number = make("b");
  const figure = make("figure", { class: "curve" }, make("figcaption", {}, title, number), drawing);
  function show(check) {
    cursor.setAttribute("x1", x(check.step));
    cursor.setAttribute("x2", x(check.step));
    number.textContent = value(check) === null ? "not known" : twoPlaces(value(check));
  }
  const isHigh = isReliance && checks.some((check) => (value(check, "_low") ?? -1) > margin);
  return { figure, show, title, value, isFirst: isHigh || key in WORDS };
}

function curvesOf(checks, margin, isGuessed) {
  const seen = (key) => checks.some((check) => (check.values[key] ?? null) !== null);
  const cues = reliances(checks).filter(seen).map((key) => curve(key, `lost with another ${key.slice(9)}`, checks, margin));
  const title = (key) => WORDS[key] + (isGuessed && key === "background_attention_ratio" ? ", as far as guessed" : "");
  return [...cues, ...Object.keys(WORDS).filter(seen).map((key) => curve(key, title(key), checks, margin))];
}

/* The curves for those who do not see them. */
function table(curves, checks) {
  const head = make("tr", {}, make("th", { scope: "col" }, "step"), ...curves.map((each) => make("th", { scope: "col" }, each.title)));
  const rows = checks.map((check) => make("tr", {}, make("th", { scope: "row" }, String(check.step)),
    ...curves.map((each) => make("td", {}, each.value(check) === null ? "-" : twoPlaces(each.value(check))))));
  return make("details", { class: "numbers" }, make("summary", {}, "The curves as a table"),
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}
