/* The whole. */

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
  bar.hidden = checks.length === 1;
  element.append(make("h2", {}, bar.hidden ? "Where the model looks" : "Where the model looks, over time"), bar, panel(first), options, grid, none, how, ...below);
  draw();
  return { checks, classes, portraits, show };
}
