/* The tab "Attention" of TensorBoard: the page of a run in a frame, kept up to date, and a picker where there are several runs.
   Names of runs are text: they reach the page through append alone. */

const POLL_MS = 5000; // TensorBoard itself looks for new events every five seconds
const REST_MS = 20000; // somebody who has touched the page for this long no more is not using it
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

/* The page of a run. It says which check it shows in its address. */
class Frame {
  constructor(run, hash, main, done) {
    this.run = run;
    this.touched = 0;
    this.element = make("iframe", { class: "waiting", title: "Where the model looks, and what it relies on" });
    this.element.style.colorScheme = isDark() ? "dark" : "light";
    const query = new URLSearchParams({ run: run.run, name: run.name });
    this.element.src = `${address("./page")}?${query}${hash}`;
    this.element.addEventListener("load", () => { this.begin(); done(); }, { once: true });
    main.append(this.element);
  }
  get page() { return this.element.contentDocument; }
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
    for (const kind of ["pointerdown", "keydown", "wheel"]) {
      this.element.contentWindow.addEventListener(kind, () => { this.touched = Date.now(); }, { passive: true });
    }
  }
  get isAtNewest() { return !this.check || Number(this.check) > Number(this.newest); }
  get isInUse() { return Date.now() - this.touched < REST_MS; }
  /* Takes the place of the page before: at the same place, with the same part in focus and the same parts open. */
  follow(old) {
    this.element.classList.remove("waiting");
    if (!old) return;
    if (old.run.run === this.run.run && old.run.name === this.run.name) {
      const open = [...old.page.querySelectorAll("details")].map((each) => each.open);
      this.page.querySelectorAll("details").forEach((each, i) => { each.open = open[i] ?? each.open; });
      this.element.contentWindow.scrollTo(0, old.element.contentWindow.scrollY);
      this.parts[old.parts.indexOf(old.page.activeElement)]?.focus({ preventScroll: true });
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
  let runs = [], chosen = null, frame = null, coming = null;
  document.body.append(make("header", {}, label, fresh, words), main);

  function show(run, hash) {
    chosen = run;
    fresh.hidden = true;
    coming?.element.remove();
    const next = coming = new Frame(run, hash, main, () => {
      if (coming !== next) return;
      next.follow(frame);
      [frame, coming] = [next, null];
    });
  }
  /* Whoever looks at the last check sees the next one come; who looks at another one is asked. */
  function update(run) {
    if (coming) return;
    if (frame.isAtNewest && !frame.isInUse) show(run, frame.view);
    else if (frame.run.time !== run.time) fresh.hidden = false;
  }
  function list() {
    const several = new Set(runs.map((run) => run.name)).size > 1;
    const text = (run) => (several ? `${run.run}, ${run.name}` : run.run);
    picker.replaceChildren(...runs.map((run, i) => make("option", { value: i }, text(run))));
    picker.value = runs.indexOf(chosen);
    label.hidden = runs.length < 2;
  }
  async function poll() {
    if (window.innerWidth === 0) return; // another tab of TensorBoard is open
    try {
      ({ runs } = await (await fetch(address("./runs"))).json());
      words.textContent = runs.length ? "" : NO_RUNS;
    } catch {
      words.textContent = "TensorBoard does not answer.";
      return;
    }
    if (!runs.length) return;
    const same = chosen && runs.find((run) => run.run === chosen.run && run.name === chosen.name);
    const latest = runs.reduce((one, other) => (other.time > one.time ? other : one));
    if (!same) show(latest, "");
    else if (frame && same.time !== frame.run.time) { chosen = same; update(same); }
    else chosen = same;
    list();
  }
  picker.addEventListener("change", () => show(runs[picker.value], ""));
  fresh.addEventListener("click", () => show(chosen, frame.view));
  await poll();
  setInterval(poll, POLL_MS);
}
