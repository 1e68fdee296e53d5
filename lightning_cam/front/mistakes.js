/* Which classes are taken for which, at one check; a click keeps these probes alone. */

function mistakesPanel(portraits, toggle) {
  const head = make("p"), list = make("ul", { class: "pairs" }), box = make("div", {}, head, list);
  function button([target, taken, n, all], chosen) {
    const key = `${target}-${taken}`;
    const text = `${className(portraits, target)} taken for ${className(portraits, taken)}: ${n ? `${n} of ${all}` : "none"}`;
    const element = make("button", { type: "button", "data-pair": key, "aria-pressed": String(chosen === key) }, text);
    element.addEventListener("click", () => toggle(key));
    return make("li", {}, element);
  }
  function show(check, chosen) {
    const pairs = [...((check && check.pairs) || [])];
    if (chosen && !pairs.some(([target, taken]) => `${target}-${taken}` === chosen)) pairs.push([...chosen.split("-").map(Number), 0, 0]);
    const focused = list.contains(document.activeElement) && document.activeElement.dataset.pair;
    box.hidden = !check || !check.pairs || Boolean(portraits.unanswered);
    const isAnswered = check && check.predicted && check.predicted.every((taken) => taken >= 0);
    const none = isAnswered ? "No mistake on any image of the probe at this check." : "No mistake on the images that have an answer at this check.";
    head.textContent = pairs.length ? "Mistakes on all images of the probe:" : none;
    list.replaceChildren(...pairs.map((pair) => button(pair, chosen)));
    if (focused) [...list.querySelectorAll("button")].find((each) => each.dataset.pair === focused)?.focus();
  }
  return { box, show };
}
