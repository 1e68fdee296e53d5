"use strict";
mount(document.getElementById("time"), {
  portraits: JSON.parse(document.getElementById("portraits").textContent),
  checks: JSON.parse(document.getElementById("checks").textContent),
});
