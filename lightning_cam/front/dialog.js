/* One probe, large, at the check of the slider. */

/* The probability of the true class over the checks. */
function ownCurve(checks) {
  const known = checks.filter((check) => check.own), steps = checks.map((check) => check.step);
  const x = (step) => 100 * (step - steps[0]) / Math.max(steps.at(-1) - steps[0], 1);
  const trace = make("svg:polyline", { class: "trace" }), cursor = make("svg:line", { class: "cursor", y1: -2, y2: 42 });
  const level = (y) => make("svg:line", { class: "zero", x1: 0, x2: 100, y1: y, y2: y });
  const number = make("b");
  const figure = make("figure", { class: "curve" }, make("figcaption", {}, "probability of the true class", number),
    make("svg:svg", { viewBox: "0 -2 100 44", preserveAspectRatio: "none", "aria-hidden": "true" }, level(0), level(40), trace, cursor));
  function show(i, check, shown) {
    const points = known.filter((each) => each.own[i] !== null).map((each) => `${x(each.step)},${40 * (1 - each.own[i])}`);
    trace.setAttribute("points", points.join(" "));
    cursor.setAttribute("x1", x(check.step));
    cursor.setAttribute("x2", x(check.step));
    number.textContent = percent(shown && shown.own ? shown.own[i] : null);
  }
  return { figure, show };
}

/* look(i) tells what is to be seen of a probe now; moved(i) is told which probe is open, null for none. */
function probeDialog(portraits, checks, look, moved) {
  const title = make("h3", { tabindex: -1 }), said = make("p", { "aria-live": "polite" }), where = make("p", { class: "when" });
  const button = (text, label, act) => {
    const element = make("button", { type: "button", "aria-label": label }, text);
    element.addEventListener("click", act);
    return element;
  };
  const panels = make("div", { class: "panels" }), curve = ownCurve(checks);
  const before = button("‹", "the probe before", () => turn(-1)), after = button("›", "the next probe", () => turn(1));
  const dialog = make("dialog", {},
    make("div", { class: "head" }, title, before, after, button("✕", "close", () => dialog.close())), said, panels, curve.figure, where);
  let at = null;
  function turn(by) {
    const shown = look().order, place = shown.indexOf(at);
    if (shown.length) open(shown[(place + by + shown.length) % shown.length]);
  }
  function panel(text, map, size, palettes, view) {
    const { view: picture, draw } = stack(portraits.probes[at]);
    draw(map, size, palettes, view);
    return make("figure", {}, picture, make("figcaption", {}, text));
  }
  function show() {
    if (at === null) return;
    const { check, shown, map, other, palettes, end, view } = look(at), probe = portraits.probes[at];
    const saidOf = saying(probe, portraits, at, shown, map), heat = view === "spot" ? "spot" : "heat";
    title.textContent = probe.name;
    dialog.setAttribute("aria-label", probe.name); // not by an id: a page of two runs has two dialogs
    said.textContent = `${saidOf.answer}${saidOf.chance}${saidOf.outside && `; ${saidOf.outside}`}${saidOf.trust && `; ${saidOf.trust}`}`;
    said.className = portraits.unanswered ? "" : saidOf.isRight ? "right" : "wrong";
    const figures = [panel("the picture", null, null, palettes, "none")];
    const isEmpty = map && !map.some((cell) => cell > 0), side = portraits.against ? "evidence against" : "attention for";
    const ofWhat = portraits.ofScore ? "the score" : `the true class, ${className(portraits, probe.target)}`;
    if (map) figures.push(panel(`${side} ${ofWhat}${isEmpty ? ": none" : ""}`, map, shown.size, palettes, heat));
    if (map && other) figures.push(
      panel(`${side} the predicted class, ${className(portraits, shown.predicted[at])}`, other, shown.size, palettes, heat),
      panel("difference: orange has more for the predicted class, blue for the true one", difference(map, other, end), shown.size, palettes, "gap"));
    panels.replaceChildren(...figures);
    curve.figure.hidden = checks.length === 1 || Boolean(portraits.unanswered);
    curve.show(at, check, shown);
    where.textContent = `check ${checks.indexOf(check) + 1} of ${checks.length}${checks.length > 1 ? "; the arrow keys step through the checks" : ""}`;
  }
  function open(i) {
    at = i;
    show();
    if (!dialog.open) {
      dialog.showModal();
      title.focus(); // once: whoever turns to the next probe stays on the button
    }
    moved(i);
  }
  dialog.addEventListener("close", () => { at = null; moved(null); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  return { dialog, open, show, close: () => dialog.open && dialog.close() };
}
