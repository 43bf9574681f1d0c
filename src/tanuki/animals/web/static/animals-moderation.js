// Moderation by keyboard alone: keys choose and decide. The next case and its photo are loaded ahead.
"use strict";

let nextPage = null;

function loadNextPage() {
  nextPage = null;
  const nextUrl = document.querySelector("[data-moderation]")?.dataset.next;
  if (!nextUrl) return;
  nextPage = fetch(nextUrl).then(async (response) => {
    if (!response.ok) return null;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const photo = page.querySelector(".concealed img");
    if (photo) Object.assign(new Image(), { sizes: photo.sizes, srcset: photo.srcset, src: photo.src });
    return page;
  }).catch(() => null);
}

function showPage(page, address) {
  document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
  document.title = page.title;
  history.replaceState(null, "", address);
  scrollTo(0, 0);
  document.querySelector("main").focus();
  loadNextPage();
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-decision-form]") || !event.submitter) return;
  event.preventDefault();
  const nextUrl = document.querySelector("[data-moderation]").dataset.next;
  const body = new FormData(form, event.submitter);
  const loading = nextPage;
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  try {
    const response = await fetch(form.getAttribute("action"), { method: "POST", body, headers: { Accept: "application/json", "X-CSRF-Token": body.get("csrf") } });
    const result = await response.json();
    if (!response.ok) throw new Error(result.detail);
    showToast(result.message);
    const page = nextUrl && (await loading);
    if (page) showPage(page, nextUrl);
    else location.assign(result.path);
  } catch (error) {
    for (const button of form.querySelectorAll("button")) button.disabled = false;
    showToast(error instanceof TypeError || !error.message ? document.body.dataset.error : error.message, true);
  }
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.matches("textarea, input:not([type=radio]):not([type=checkbox]), select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "v") {
    document.getElementById("reveal")?.click();
    return;
  }
  const target = document.querySelector(`[data-moderation] [data-key="${CSS.escape(event.key)}"]`);
  if (!target) return;
  event.preventDefault();
  if (target.matches("textarea")) target.focus();
  else target.click();
});

document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("[data-moderation] a[data-key=n]");
  if (!link || !nextPage) return;
  event.preventDefault();
  const page = await nextPage;
  if (page) showPage(page, link.href);
  else location.assign(link.href);
});

loadNextPage();
