// Before and after laid on each other, with a slider that the arrow keys move too. Without it both stand one under the other.
"use strict";

const compare = document.querySelector("[data-compare]");
const slide = document.querySelector("[data-slide]");
if (compare && slide) {
  const move = () => compare.style.setProperty("--at", `${slide.value}%`);
  compare.classList.add("laid");
  slide.addEventListener("input", move);
  compare.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !event.buttons) return;
    const box = compare.getBoundingClientRect();
    slide.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    move();
  });
  move();
}
