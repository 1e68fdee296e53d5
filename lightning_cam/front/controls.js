/* What a person changes the view with. */

const PLAY_MS = 450; // per check: long enough to see a map, and 40 checks in 18 seconds

function choice(label, options, chosen, change) {
  const select = make("select", {}, ...Object.entries(options).map(([value, text]) => make("option", { value }, text)));
  select.value = chosen;
  select.addEventListener("change", () => change(select.value));
  return make("label", {}, `${label} `, select);
}

function legend(palettesOfRun, end, against) {
  const canvas = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const most = amount(end).toFixed(1).replace(/\.0$/, "");
  const box = make("span", { class: "legend" }), words = make("span"), none = make("span");
  box.append(none, canvas, words);
  function show(view, kind) {
    const isGap = kind === "difference";
    box.hidden = view === "none";
    if (box.hidden) return;
    none.textContent = isGap ? "more for the true class" : against ? "nothing against" : "no attention";
    words.textContent = isGap ? "more for the predicted class" : `${most} times the even share${end >= 255 ? " and more" : ""}`;
    if (isGap) return paint(canvas, Uint8Array.from({ length: 256 }, (_, i) => i), [1, 256], palettesOfRun.gap);
    paint(canvas, Uint8Array.from({ length: 256 }, (_, i) => i * end / 255), [1, 256], palettesOfRun[view]);
    return undefined;
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

/* Arrow keys step, the space bar plays. */
function listen(play, at, n, go) {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("select, summary, pre, input:not([type=range])");
    const moves = { ArrowLeft: at() - 1, ArrowRight: at() + 1, Home: 0, End: n - 1 };
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key in moves) { event.preventDefault(); play.stop(); go(moves[event.key]); }
    if (event.key === " " && !event.target.closest("button")) { event.preventDefault(); play.toggle(); }
  });
}
