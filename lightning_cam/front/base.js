"use strict";
/* One run over time. mount(element, source) draws it into an element; source = { portraits, checks }.
   A page of several runs leads them: led by show(...), a run has no slider, keys and place in the address of its own.
   Text of others reaches the page as text alone: through append and setAttribute, never as markup. */

const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;

function make(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* 100 % is said of all alone, and 0 % of none. */
function percent(share) {
  if (share === null) return "undefined";
  const rounded = Math.round(100 * share);
  if (rounded === 100 && share < 1) return `${Math.floor(Math.min(1000 * share, 999)) / 10}\u00a0%`;
  return rounded === 0 && share > 0 ? "below 1\u00a0%" : `${rounded}\u00a0%`;
}

/* Without the sign of what rounds to nothing. */
function twoPlaces(value) {
  return value.toFixed(2).replace(/^-(?=0\.00$)/, "");
}

function className(portraits, index) {
  return index < portraits.classes.length ? portraits.classes[index] : `class ${index}`;
}
