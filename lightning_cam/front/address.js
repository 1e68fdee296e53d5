/* What the address keeps. */

const VIEWS = { heat: "colours", spot: "spotlight", none: "picture only" };
const ORDERS = { drawn: "as drawn", outside: "most attention outside", drift: "most drift", doubt: "least sure of the true class" };

function readState(n, classes) {
  const kept = new URLSearchParams(location.hash.slice(1));
  const step = Number.parseInt(kept.get("check") ?? "", 10);
  return {
    at: step >= 1 && step <= n ? step - 1 : n - 1,
    view: Object.hasOwn(VIEWS, kept.get("view")) ? kept.get("view") : "heat",
    order: Object.hasOwn(ORDERS, kept.get("sort")) ? kept.get("sort") : "drawn",
    of: classes.includes(Number(kept.get("class") ?? NaN)) ? Number(kept.get("class")) : null,
    wrong: kept.get("wrong") === "1",
  };
}

function writeState(state) {
  const kept = new URLSearchParams({ check: state.at + 1, view: state.view, sort: state.order });
  if (state.of !== null) kept.set("class", state.of);
  if (state.wrong) kept.set("wrong", "1");
  if (location.protocol !== "about:") history.replaceState(null, "", `#${kept}`); // a frame in a notebook has no address
}
