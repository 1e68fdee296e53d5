/* The tab "Attention" of TensorBoard: the page of a run in a frame, kept up to date, and a picker where there are several runs.
   Names of runs are text: they reach the page through append alone. */

const POLL_MS = 5000; // TensorBoard itself looks for new events every five seconds
const REST_MS = 20000; // somebody who has touched the page for this long no more is not using it
const PATIENCE_MS = 20000; // a busy TensorBoard answers late; one that was suspended never does
const AWAY = "TensorBoard does not answer. This page shows the last checks that it sent, and goes on when it is back.";
const NO_RUNS = "No run in this log folder has checks of lightning_cam yet. They come with Trainer(callbacks=[CAMCallback()]).";

const address = (name) => new URL(name, import.meta.url); // TensorBoard may lie below a path, or behind a proxy

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* TensorBoard's own switch; a browser whose frames do not follow it shows the mode of the system. */
function isDark() {
  return window.parent.document.body.classList.contains("dark-mode");
}

const isSame = (run, other) => run.run === other.run && run.name === other.name;

/* The page of a run. It says which check it shows in its address. */
class Frame {
  constructor(run, hash, main, done) {
    this.run = run;
    this.touched = 0;
    this.element = make("iframe", { class: "waiting", title: "Where the model looks, and what it relies on" });
    this.tint();
    const query = new URLSearchParams({ run: run.run, name: run.name });
    this.element.src = `${address("./page")}?${query}${hash}`;
    this.element.addEventListener("load", () => { if (this.page) this.begin(); done(); }, { once: true });
    main.append(this.element);
  }
  tint() { this.element.style.colorScheme = isDark() ? "dark" : "light"; }
  get page() { return this.element.contentDocument; } // null where the browser shows an error of its own
  get hash() { return this.element.contentWindow.location.hash; }
  get view() {
    const kept = new URLSearchParams(this.hash.slice(1));
    kept.delete("check");
    return `#${kept}`;
  }
  get check() { return new URLSearchParams(this.hash.slice(1)).get("check"); }
  get parts() { return [...this.page.querySelectorAll("button, input, select, summary")]; }
  begin() {
    this.newest = this.parts.find((part) => part.type === "range")?.max ?? 0;
    this.part = this.page.body; // that had the focus last; a browser forgets it when the focus leaves the frame
    this.element.contentWindow.addEventListener("focusin", (event) => { this.part = event.target; });
    for (const kind of ["pointerdown", "keydown", "wheel"]) {
      this.element.contentWindow.addEventListener(kind, () => { this.touched = Date.now(); }, { passive: true });
    }
  }
  get isAtNewest() { return !this.check || Number(this.check) > Number(this.newest); }
  get isInUse() {
    const plays = this.parts.some((part) => part.textContent.endsWith("Pause")), marked = this.element.contentWindow.getSelection();
    return plays || marked?.type === "Range" || Date.now() - this.touched < REST_MS;
  }
  /* The part of the same name: a new check may bring others, such as the slider. What a probe is called comes before a colon. */
  counterpart(part) {
    const name = (each) => `${each.tagName} ${each.getAttribute("aria-label") || each.textContent || each.parentElement.textContent}`.split(":")[0];
    return this.parts.find((each) => name(each) === name(part));
  }
  /* Takes the place of the page before: at the same place, with the counterpart of ``part`` in focus and the same parts open. */
  follow(old, part) {
    this.element.classList.remove("waiting");
    if (!old) return;
    if (isSame(old.run, this.run)) {
      const open = [...old.page.querySelectorAll("details")].map((each) => each.open);
      this.page.querySelectorAll("details").forEach((each, i) => { each.open = open[i] ?? each.open; });
      this.element.contentWindow.scrollTo(0, old.element.contentWindow.scrollY);
      if (part) (this.counterpart(part) ?? this.element).focus({ preventScroll: true });
    }
    old.element.remove();
  }
}

export async function render() {
  document.head.append(make("link", { rel: "stylesheet", href: address("./tab.css") }));
  document.documentElement.lang = "en";
  const picker = make("select"), label = make("label", { hidden: "" }, "Run ", picker);
  const fresh = make("button", { type: "button", hidden: "" }, "Show the new checks");
  const words = make("span", { role: "status" });
  const main = make("main");
  let runs = [], listed = [], chosen = null, frame = null, coming = null, isAsked = false;
  document.body.append(make("header", {}, label, fresh, words), main);

  function show(run, hash) {
    chosen = run;
    fresh.hidden = true;
    coming?.element.remove();
    const next = coming = new Frame(run, hash, main, () => {
      if (coming !== next) return;
      coming = null;
      if (!next.page) return next.element.remove(); // TensorBoard went away: what is here stays, and the next poll tries again
      next.follow(frame, frame?.page.hasFocus() ? frame.page.activeElement : isAsked && frame.part);
      [frame, isAsked] = [next, false];
      return undefined;
    });
  }
  /* Whoever looks at the last check sees the next one come; who looks at another one is asked. */
  function update(run) {
    if (frame.isAtNewest && !frame.isInUse) show(run, frame.view);
    else fresh.hidden = false;
  }
  function list() {
    const several = new Set(runs.map((run) => run.name)).size > 1;
    const texts = runs.map((run) => (several ? `${run.run}, ${run.name}` : run.run));
    const before = [...picker.options].map((option) => option.text);
    listed = runs;
    if (texts.join("\n") !== before.join("\n")) { // an open list would lose its place
      picker.replaceChildren(...texts.map((text, i) => make("option", { value: i }, text)));
    }
    picker.value = listed.findIndex((run) => isSame(run, chosen));
    label.hidden = listed.length < 2;
  }
  async function asked() {
    const answer = await fetch(address("./runs"), { signal: AbortSignal.timeout(PATIENCE_MS) });
    return (await answer.json()).runs;
  }
  function tint() {
    document.documentElement.classList.toggle("dark", isDark());
    frame?.tint();
  }
  async function poll() {
    if (window.innerWidth === 0) return; // another tab of TensorBoard is open
    tint();
    try {
      runs = await asked();
      words.textContent = runs.length ? "" : NO_RUNS;
    } catch {
      words.textContent = frame ? AWAY : "TensorBoard does not answer.";
      return;
    }
    if (!runs.length) return;
    const same = chosen && runs.find((run) => isSame(run, chosen));
    const shown = coming ?? frame;
    if (!same) show(runs.reduce((one, other) => (other.time > one.time ? other : one)), "");
    else if (!shown || !isSame(shown.run, same)) show(same, "");
    else if (!coming && same.time !== frame.run.time) update(same);
    chosen = same ?? chosen;
    list();
  }
  async function watch() {
    await poll().finally(() => setTimeout(watch, POLL_MS)); // one at a time
  }
  picker.addEventListener("change", () => show(listed[picker.value], ""));
  fresh.addEventListener("click", () => { isAsked = true; show(chosen, frame.view); });
  await watch();
}
