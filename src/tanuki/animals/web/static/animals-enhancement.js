// Before and after on top of each other, with a slider that the arrow keys move, too. Without scripts both stand one below the other.
"use strict";

const comparison = document.querySelector("[data-compare]");
const slider = document.querySelector("[data-compare-slider]");
if (comparison && slider) {
  const movePosition = () => comparison.style.setProperty("--position", `${slider.value}%`);
  comparison.classList.add("overlaid");
  slider.addEventListener("input", movePosition);
  comparison.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !event.buttons) return;
    const box = comparison.getBoundingClientRect();
    slider.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    movePosition();
  });
  movePosition();
}
