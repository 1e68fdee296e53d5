/* The surest mistakes of the whole validation set: each picture with the map of the true class, of the predicted one, and of
   their difference. */

function surestMistake({ portraits, check }, i, map, other, palettes_, end) {
  const probe = portraits.probes[i], taken = className(portraits, check.predicted[i]), target = className(portraits, probe.target);
  const side = portraits.against ? "evidence against" : "attention for";
  function panel(text, drawn, view) {
    const { view: picture, draw } = stack(probe);
    draw(drawn, check.size, palettes_, view);
    const isEmpty = drawn && !drawn.some((cell) => cell > 0);
    return make("figure", {}, picture, make("figcaption", {}, `${text}${isEmpty ? ": none" : ""}`));
  }
  const panels = [panel("the picture", null, "none"), panel(`${side} ${target}, which it is`, map, "heat")];
  if (other) panels.push(panel(`${side} ${taken}, the answer`, other, "heat"),
    panel(`difference: orange for ${taken}, blue for ${target}`, difference(map, other, end), "gap"));
  const certainty = make("span", {}, `, ${percent(check.certainty[i])}; it is ${target}, ${percent(check.own[i])}`);
  return make("li", { class: "probe wrong" }, make("p", {}, make("span", { class: "answer" }, `wrong: ${taken}`), certainty),
    make("div", { class: "panels" }, ...panels), make("p", { class: "name" }, probe.name));
}

function surestMistakes(source) {
  const { portraits, check, images, accuracy } = source, maps = decoded(check) || [], others = mistaken(check);
  const end = scaleEnd([maps, [...others.values()]]), colours = palettes(portraits.ramp, end);
  const pairs = check.pairs.map(([target, taken, n, all]) =>
    make("li", {}, `${className(portraits, target)} taken for ${className(portraits, taken)}: ${n} of ${all}`));
  const nWrong = Math.round(images * (1 - accuracy));
  return [
    make("h2", {}, "The surest mistakes on all validation images"),
    make("p", {}, `The model is wrong on ${nWrong} of ${images} images. `
      + (maps.length ? "Below are those that it is surest of. An image that looks right may have a wrong label." : "At the end of the fit it is no longer wrong on those that it was surest of.")),
    make("ul", { class: "pairs said" }, ...pairs),
    make("ul", { class: "surest" }, ...portraits.probes.map((_, i) => surestMistake(source, i, maps[i], others.get(i), colours, end))),
  ];
}
