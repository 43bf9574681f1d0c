// The desk by keyboard alone: keys choose and decide; the next case and its picture are there before they are asked for.
"use strict";

let ahead = null;

function prepare() {
  ahead = null;
  const next = document.querySelector("[data-desk]")?.dataset.next;
  if (!next) return;
  ahead = fetch(next).then(async (answer) => {
    if (!answer.ok) return null;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const picture = page.querySelector(".veil img");
    if (picture) Object.assign(new Image(), { sizes: picture.sizes, srcset: picture.srcset, src: picture.src });
    return page;
  }).catch(() => null);
}

function turn(page, address) {
  document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
  document.title = page.title;
  history.replaceState(null, "", address);
  scrollTo(0, 0);
  document.querySelector("main").focus();
  prepare();
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-decide]") || !event.submitter) return;
  event.preventDefault();
  const next = document.querySelector("[data-desk]").dataset.next;
  const sent = new FormData(form, event.submitter);
  const prepared = ahead;
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  try {
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body: sent, headers: { Accept: "application/json", "X-CSRF-Token": sent.get("csrf") } });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.detail);
    toast(said.message);
    const page = next && (await prepared);
    if (page) turn(page, next);
    else location.assign(said.to);
  } catch (error) {
    for (const button of form.querySelectorAll("button")) button.disabled = false;
    toast(error instanceof TypeError || !error.message ? document.body.dataset.failed : error.message, true);
  }
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.matches("textarea, input:not([type=radio]):not([type=checkbox]), select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "v") {
    document.getElementById("veil")?.click();
    return;
  }
  const found = document.querySelector(`[data-desk] [data-key="${CSS.escape(event.key)}"]`);
  if (!found) return;
  event.preventDefault();
  if (found.matches("textarea")) found.focus();
  else found.click();
});

document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("[data-desk] a[data-key=n]");
  if (!link || !ahead) return;
  event.preventDefault();
  const page = await ahead;
  if (page) turn(page, link.href);
  else location.assign(link.href);
});

prepare();
