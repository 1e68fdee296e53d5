/* One probe. */

/* A picture with room for a map on it, in the colours of a palette, and the outline of the object on top. */
function stack(probe, tag = "div") {
  const picture = make("img", { src: probe.picture, alt: "" });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const outline = probe.outline ? [make("img", { class: "outline", src: probe.outline, alt: "" })] : [];
  const view = make(tag, { class: "view" }, picture, canvas, ...outline);
  picture.addEventListener("load", () => {
    picture.classList.toggle("small", picture.naturalWidth < 128 && picture.naturalHeight < 128);
    view.style.aspectRatio = `${picture.naturalWidth} / ${picture.naturalHeight}`;
  });
  function draw(map, size, palettes, view_) {
    canvas.hidden = !map || !palettes[view_] || !map.some((cell) => cell > 0);
    view.classList.toggle("tinted", !canvas.hidden && view_ !== "spot");
    if (!canvas.hidden) paint(canvas, map, size, palettes[view_]);
  }
  return { view, draw };
}

/* What is said of a probe at a check, in parts. */
function saying(probe, portraits, i, check, map) {
  if (!check || !map) return { isKnown: false, isRight: false, answer: "no map at this check", chance: "", outside: "", trust: "", share: null };
  const isRight = check.predicted[i] === probe.target, target = className(portraits, probe.target);
  const share = probe.area === null ? null : check.outside[i], isDefined = check.predicted[i] >= 0; // -1 where scores are NaN
  const guessed = probe.source === "guess" ? " (guessed mask)" : "";
  const score = portraits.ofScore && check.scores ? `score ${check.scores[i] === null ? "undefined" : Number(check.scores[i].toPrecision(3))}` : "";
  const isStuck = check.untrusted && check.untrusted.includes(i);
  return {
    isKnown: isDefined, isRight, share, short: share === null ? null : `${percent(share)} outside${guessed}`,
    answer: portraits.unanswered ? score : isDefined ? (isRight ? "right: " : "wrong: ") + className(portraits, check.predicted[i]) : "no answer: the scores are NaN",
    trust: isStuck ? "map not to be trusted: the same with random weights" : "",
    chance: portraits.unanswered ? "" : `${isDefined ? `, ${percent(check.certainty[i])}` : ""}${isRight ? "" : `; it is ${target}`}${score && `; ${score}`}`,
    outside: share !== null ? `${percent(share)} of the ${portraits.against ? "evidence against it" : "attention"} outside${guessed}`
      : map.some((cell) => cell > 0) ? (probe.area === null ? "no mask" : "") : nothing(portraits, target, isRight),
  };
}

/* Of an empty map. A class such as "healthy" may be known by what is absent: then a right answer has nothing to show. */
function nothing(portraits, target, isRight) {
  if (portraits.against) return `nothing argues against ${portraits.ofScore ? "the score" : target}`;
  if (portraits.ofScore) return "no attention for the score";
  return isRight ? `no evidence for ${target}: known by what is absent?` : "no attention for the true class";
}

/* The map that is asked for: of the true class, of the predicted one, or the difference; null where there is none. */
function chosenMap(kind, map, other, isRight, end) {
  if (!map || kind === "true") return map;
  if (kind === "predicted") return isRight ? map : other ?? null;
  return isRight || !other ? null : difference(map, other, end);
}

function tile(probe, portraits, i, open) {
  const { view, draw } = stack(probe, "button");
  view.type = "button";
  view.addEventListener("click", () => open(i));
  const answer = make("span", { class: "answer" }), chance = make("span"), outside = make("p"), trust = make("p", { class: "trust" });
  const part = make("svg:rect", { class: "part", height: 8, width: 0 });
  const bar = make("svg:svg", { class: "share", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    make("svg:rect", { class: "all", height: 8, width: 100 }), part);
  if (probe.area !== null) bar.append(make("svg:line", { class: "even", x1: 100 * probe.area, x2: 100 * probe.area, y1: 0, y2: 8 }));
  const item = make("li", { class: "probe" }, view,
    make("p", {}, answer, chance), outside, bar, trust, make("p", { class: "name", title: probe.name }, probe.name));
  function show(check, map, other, look) {
    const said = saying(probe, portraits, i, check, map);
    item.classList.toggle("right", said.isKnown && said.isRight);
    item.classList.toggle("wrong", said.isKnown && !said.isRight);
    const drawn = chosenMap(look.kind, map, other, said.isRight, look.end);
    draw(drawn, check && check.size, look.palettes, look.kind === "difference" && look.view !== "none" ? "gap" : look.view);
    answer.textContent = said.answer;
    chance.textContent = said.chance;
    const isOfTrue = drawn === map;
    outside.textContent = isOfTrue ? said.short ?? said.outside : drawn ? "" : said.isRight ? "right: no difference" : "not kept at this check";
    trust.textContent = isOfTrue ? said.trust : "";
    bar.toggleAttribute("hidden", said.share === null || !isOfTrue);
    if (said.share !== null) part.setAttribute("width", 100 * said.share);
    view.setAttribute("aria-label", `${probe.name}: ${said.answer}${said.chance}${said.outside && `; ${said.outside}`}${said.trust && `; ${said.trust}`}`);
  }
  return { item, probe, show };
}
