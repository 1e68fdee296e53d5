"use strict";
/* Several runs on one slider over the training step. A run shows its last check up to there. */

function compared(element, sources) {
  const whole = sources.filter((each) => each.portraits && each.checks.length);
  if (!whole.length) return;
  const end = Math.max(...whole.map((each) => scaleEnd(each.checks.map(decoded))));
  const columns = make("div", { class: "columns-of-runs" });
  const runs = whole.map((source) => {
    const column = make("section", {}, make("h3", {}, source.title));
    columns.append(column);
    return mount(column, source, { led: true, end });
  });
  const steps = [...new Set(runs.flatMap((run) => run.checks.map((check) => check.step)))].sort((a, b) => a - b);
  const names = runs[0].portraits.classes, classes = runs[0].classes;
  const haveSameClasses = runs.every((run) => run.portraits.classes.join("\n") === names.join("\n"));
  const palette = palettes(runs[0].portraits.ramp, end), scale = legend(palette, end);
  let state = readState(steps.length, haveSameClasses ? classes : [], 0);
  const bar = make("div", { class: "bar" }), label = make("output"), options = make("div", { class: "options" });
  const slider = make("input", { type: "range", min: 0, max: steps.length - 1, step: 1, "aria-label": "step of all trainings" });
  const play = player(bar, (start) => {
    go(start && state.at === steps.length - 1 ? 0 : state.at + 1);
    return state.at < steps.length - 1;
  }, () => draw());

  function checkOf(run) {
    return Math.max(run.checks.findLastIndex((check) => check.step <= steps[state.at]), 0);
  }
  function draw() {
    const { view, kind, of } = state;
    runs.forEach((run) => run.show({ at: checkOf(run), view, kind, of }));
    scale.show(view, kind);
    label.textContent = state.at === steps.length - 1 ? "at the end" : `step ${steps[state.at]}`;
    slider.value = state.at;
    slider.setAttribute("aria-valuetext", label.textContent);
    if (!play.isPlaying()) writeState(state);
  }
  function go(at) {
    state.at = Math.min(Math.max(at, 0), steps.length - 1);
    draw();
  }
  function show(change) {
    Object.assign(state, change);
    draw();
  }
  function build() {
    const some = { "": "all classes", ...Object.fromEntries(classes.map((index) => [index, names[index]])) };
    options.replaceChildren(
      choice("Show", VIEWS, state.view, (view) => show({ view })),
      choice("Attention for", KINDS, state.kind, (kind) => show({ kind })),
      ...(haveSameClasses ? [choice("Pictures of", some, state.of ?? "", (of) => show({ of: of === "" ? null : Number(of) }))] : []),
      scale.box,
    );
    draw();
  }
  slider.addEventListener("input", () => { play.stop(); go(Number(slider.value)); });
  listen(play, () => state.at, steps.length, go);
  window.addEventListener("hashchange", () => { play.stop(); state = readState(steps.length, haveSameClasses ? classes : [], 0); build(); });
  bar.append(slider, label);
  element.append(bar, options, columns);
  build();
}

compared(document.getElementById("time"), JSON.parse(document.getElementById("runs").textContent));
