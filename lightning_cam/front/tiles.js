/* One probe. */

function tile(probe, portraits, i) {
  const picture = make("img", { src: probe.picture, alt: "" });
  picture.addEventListener("load", () => {
    if (picture.naturalWidth < 128 && picture.naturalHeight < 128) picture.className = "small";
    view.style.aspectRatio = `${picture.naturalWidth} / ${picture.naturalHeight}`;
  });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const outline = probe.outline ? [make("img", { src: probe.outline, alt: "" })] : [];
  const view = make("div", { class: "view" }, picture, canvas, ...outline);
  const answer = make("span", { class: "answer" }), chance = make("span"), outside = make("p");
  const part = make("svg:rect", { class: "part", height: 8, width: 0 });
  const share = make("svg:svg", { class: "share", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    make("svg:rect", { class: "all", height: 8, width: 100 }), part);
  if (probe.area !== null) share.append(make("svg:line", { class: "even", x1: 100 * probe.area, x2: 100 * probe.area, y1: 0, y2: 8 }));
  const item = make("li", { class: "probe" }, view,
    make("p", {}, answer, chance), outside, share, make("p", { class: "name", title: probe.name }, probe.name));
  function show(check, map, palette) {
    const known = Boolean(check && map), right = known && check.predicted[i] === probe.target;
    item.classList.toggle("right", right);
    item.classList.toggle("wrong", known && !right);
    canvas.hidden = !known || !palette || !map.some((cell) => cell > 0);
    if (!canvas.hidden) paint(canvas, map, check.size, palette);
    const predicted = known ? className(portraits, check.predicted[i]) : "";
    const target = className(portraits, probe.target);
    answer.textContent = known ? (right ? "right: " : "wrong: ") + predicted : "no map at this check";
    chance.textContent = known ? `, ${percent(check.certainty[i])}${right ? "" : `; it is ${target}`}` : "";
    const known_share = known && probe.area !== null && check.outside[i] !== null;
    share.toggleAttribute("hidden", !known_share);
    outside.textContent = known_share ? `${percent(check.outside[i])} of the attention outside`
      : known && !map.some((cell) => cell > 0) ? "no attention at all" : known && probe.area === null ? "no mask" : "";
    if (known_share) part.setAttribute("width", 100 * check.outside[i]);
  }
  return { item, probe, show };
}
