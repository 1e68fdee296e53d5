/* The whole. */

/* A check without maps shows those of the check before. */
function withMaps(maps, at) {
  while (at > 0 && !maps[at]) at -= 1;
  return at;
}

/* The place of a probe in an order; the highest comes first. */
function weight(order, i, check, map, before) {
  if (!map || order === "drawn") return -i;
  if (order === "outside") return check.outside[i] ?? -1;
  if (order === "doubt") return -(check.own[i] ?? 0);
  return order === "sure" ? check.certainty[i] ?? 0 : drift(map, before);
}

function isKept(state, probe, i, check) {
  const taken = check.predicted ? check.predicted[i] : probe.target, isWrong = taken !== probe.target;
  if (state.of !== null && probe.target !== state.of) return false;
  if (state.pair && state.pair !== `${probe.target}-${taken}`) return false;
  return isWrong || !(state.wrong || state.order === "sure");
}

function explained(portraits, isSeries) {
  const masked = portraits.probes.some((probe) => probe.area !== null);
  return make("p", { class: "how" }, "A click on a picture shows it large.",
    ...(isSeries ? [" Arrow keys step through the checks, the space bar plays."] : []),
    ...(masked ? [" The figure and the bar under a picture are the share of its attention outside the object; the mark is where even attention would end."] : []));
}

function mount(element, source, { led = false, end = scaleEnd(source.checks.map(decoded)) } = {}) {
  const { portraits, checks } = source;
  if (!portraits || !checks.length) return null;
  const maps = checks.map(decoded), others = checks.map(mistaken), palette = palettes(portraits.ramp, end);
  const classes = [...new Set(portraits.probes.map((probe) => probe.target))].sort((a, b) => a - b);
  const fromAddress = () => readState(checks.length, classes, portraits.probes.length);
  let state = led ? firstState(checks.length) : fromAddress();
  const dialog = probeDialog(portraits, checks, looked, (i) => { state.open = i; if (!led) writeState(state); });
  const tiles = portraits.probes.map((probe, i) => tile(probe, portraits, i, dialog.open));
  const mistakes = mistakesPanel(portraits, (pair) => { state.pair = state.pair === pair ? null : pair; draw(); });
  const curves = curvesOf(checks, portraits.margin, portraits.probes.some((probe) => probe.source === "guess"));
  const scale = legend(palette, end, portraits.against);
  const grid = make("ul", { class: "probes" }), none = make("p", { hidden: "" }, "No picture on this page is left by these filters.");
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
  /* What is to be seen of a probe now. */
  function looked(i) {
    const at = withMaps(maps, state.at);
    return {
      check: checks[state.at], shown: checks[at].predicted ? checks[at] : null, map: maps[at] && maps[at][i], other: others[at].get(i),
      palettes: palette, end, view: state.view, order: ranked().filter((each) => !tiles[each].item.hidden),
    };
  }
  function ranked() {
    const at = withMaps(maps, state.at), before = at > 0 ? maps[withMaps(maps, at - 1)] : null;
    const weights = tiles.map((_, i) => weight(state.order, i, checks[at], maps[at] && maps[at][i], before && before[i]));
    return tiles.map((_, i) => i).sort((a, b) => weights[b] - weights[a]);
  }
  function draw() {
    const check = checks[state.at], at = withMaps(maps, state.at);
    if (portraits.ofScore) state.kind = "true"; // of a score there is one map
    const look = { kind: state.kind, view: state.view, palettes: palette, end };
    tiles.forEach((each, i) => {
      each.show(checks[at].predicted ? checks[at] : null, maps[at] && maps[at][i], others[at].get(i), look);
      each.item.hidden = !isKept(state, each.probe, i, checks[at]);
    });
    none.hidden = tiles.some((each) => !each.item.hidden);
    curves.forEach((each) => each.show(check));
    mistakes.show(checks[at], state.pair);
    scale.show(state.view, state.kind);
    dialog.show();
    label.textContent = `check ${state.at + 1} of ${checks.length}, step ${check.step}, epoch ${check.epoch}`;
    slider.value = state.at;
    slider.setAttribute("aria-valuetext", label.textContent);
    if (!play.isPlaying()) {
      grid.replaceChildren(...ranked().map((i) => tiles[i].item));
      if (!led) writeState(state);
    }
  }
  function show(change) {
    Object.assign(state, change);
    draw();
  }

  const [first, rest] = [true, false].map((isFirst) => curves.filter((each) => each.isFirst === isFirst));
  const panel = (some) => make("div", { class: "curves" }, ...some.map((each) => each.figure));
  const below = [...(rest.length ? [make("h3", { class: "more" }, "The other cues, over time"), panel(rest)] : []),
    ...(checks.length > 1 ? [table(curves, checks)] : []), ...(led ? [] : contactSheet(portraits)), dialog.dialog];
  if (led) {
    element.append(label, grid, none, panel(first), ...below);
    draw();
    return { checks, classes, portraits, show };
  }
  slider.addEventListener("input", () => { play.stop(); go(Number(slider.value)); });
  listen(play, () => state.at, checks.length, go);
  function follow() {
    const open = state.open;
    build();
    draw();
    if (open === null) dialog.close();
    else dialog.open(open);
  }
  window.addEventListener("hashchange", () => { play.stop(); state = fromAddress(); follow(); });

  const options = make("div", { class: "options" });
  function build() {
    const names = { "": "all classes", ...Object.fromEntries(classes.map((index) => [index, className(portraits, index)])) };
    const wrong = make("input", { type: "checkbox" });
    wrong.checked = state.wrong;
    wrong.addEventListener("change", () => show({ wrong: wrong.checked }));
    options.replaceChildren(
      choice("Show", VIEWS, state.view, (value) => show({ view: value })),
      ...(portraits.ofScore ? [] : [choice(portraits.against ? "Evidence against" : "Attention for", KINDS, state.kind, (value) => show({ kind: value }))]),
      choice("Pictures of", names, state.of ?? "", (value) => show({ of: value === "" ? null : Number(value) })),
      ...(portraits.unanswered ? [] : [make("label", {}, wrong, " wrong only")]),
      choice("Sort by", ORDERS, state.order, (value) => show({ order: value })),
      scale.box,
    );
  }
  bar.append(slider, label);
  bar.hidden = checks.length === 1;
  element.append(make("h2", {}, `${portraits.against ? `What argues against ${portraits.ofScore ? "the score" : "the class"}` : portraits.ofScore ? "Where the score comes from" : "Where the model looks"}${bar.hidden ? "" : ", over time"}`), bar, panel(first), mistakes.box,
    options, grid, none, explained(portraits, checks.length > 1), ...below);
  follow();
  return { checks, classes, portraits, show };
}
