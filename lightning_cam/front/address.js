/* What the address keeps. */

const VIEWS = { heat: "colours", spot: "spotlight", none: "picture only" };
const KINDS = { true: "the true class", predicted: "the predicted class", difference: "the difference of both" };
const ORDERS = {
  drawn: "as drawn", sure: "most certain mistakes", outside: "most attention outside", drift: "most drift", doubt: "least sure of the true class",
};

function firstState(n) {
  return { at: n - 1, view: "heat", kind: "true", order: "drawn", of: null, wrong: false, pair: null, open: null };
}

function readState(n, classes, probes) {
  const kept = new URLSearchParams(location.hash.slice(1)), state = firstState(n);
  const whole = (key, below) => (/^\d+$/.test(kept.get(key) ?? "") && Number(kept.get(key)) < below ? Number(kept.get(key)) : null);
  const named = (key, names, otherwise) => (Object.hasOwn(names, kept.get(key)) ? kept.get(key) : otherwise);
  return {
    at: (whole("check", n + 1) || n) - 1,
    view: named("view", VIEWS, state.view),
    kind: named("map", KINDS, state.kind),
    order: named("sort", ORDERS, state.order),
    of: classes.includes(Number(kept.get("class") ?? NaN)) ? Number(kept.get("class")) : null,
    wrong: kept.get("wrong") === "1",
    pair: /^\d+-\d+$/.test(kept.get("pair") ?? "") ? kept.get("pair") : null,
    open: whole("probe", probes),
  };
}

function writeState(state) {
  const kept = new URLSearchParams({ check: state.at + 1, view: state.view, map: state.kind, sort: state.order });
  if (state.of !== null) kept.set("class", state.of);
  if (state.wrong) kept.set("wrong", "1");
  if (state.pair) kept.set("pair", state.pair);
  if (state.open !== null) kept.set("probe", state.open);
  if (location.protocol !== "about:") history.replaceState(null, "", `#${kept}`); // a frame in a notebook has no address
}
