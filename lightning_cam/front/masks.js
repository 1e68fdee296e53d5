/* The masks, to be judged at a glance: what "outside the object" means rests on them. */

const SOURCES = {
  given: "given by you", alpha: "from transparency", folder: "from a folder of masks", box: "a box", border: "found on a plain background",
  segmenter: "found by a segmenter", "segmenter+guess": "found by a segmenter, and widened by a guess", boxes: "boxes", guess: "guessed", reviewed: "reviewed by you", none: "none",
};

function sourceWord(source) {
  return Object.hasOwn(SOURCES, source) ? SOURCES[source] : source || "of unknown origin";
}

function contactSheet(portraits) {
  const masked = portraits.probes.filter((probe) => probe.outline), n = portraits.probes.length;
  if (!masked.length) return [];
  const counts = new Map();
  for (const probe of portraits.probes) counts.set(probe.source, (counts.get(probe.source) ?? 0) + 1);
  const said = [...counts].map(([source, count]) => `${count} ${sourceWord(source)}`).join(", ");
  const sheet = make("ul", { class: "probes sheet" });
  const details = make("details", { class: "masks" }, make("summary", {}, `The masks of ${masked.length} of ${n} pictures: ${said}`),
    make("p", {}, "The line should run around the whole object, and around nothing else. If it cuts parts of the object off, these count as",
      " background, and the verdict may be wrong. If it is a little too wide, a shortcut may stay hidden."), sheet);
  const item = (probe) => make("li", { class: "probe" }, stack(probe).view,
    make("p", { class: "name", title: probe.name }, probe.name), make("p", {}, probe.outline ? `mask: ${sourceWord(probe.source)}` : "no mask"));
  details.addEventListener("toggle", () => { if (details.open && !sheet.children.length) sheet.append(...portraits.probes.map(item)); });
  return [details];
}
