"use strict";
const wholeValidation = JSON.parse(document.getElementById("mistakes").textContent);
mount(document.getElementById("time"), {
  portraits: JSON.parse(document.getElementById("portraits").textContent),
  checks: JSON.parse(document.getElementById("checks").textContent),
});
if (wholeValidation) document.getElementById("validation").append(...surestMistakes(wholeValidation));
