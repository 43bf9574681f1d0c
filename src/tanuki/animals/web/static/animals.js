// What scripts add to the pages; every page works without them. One file, no library.
"use strict";

const { body } = document;
const csrfToken = () => document.querySelector("#page-form input[name=csrf]")?.value ?? "";

/* ---- short messages ---- */

function showToast(text, bad = false) {
  const toast = document.createElement("p");
  toast.textContent = text;
  toast.classList.toggle("bad", bad);
  document.getElementById("toasts")?.append(toast);
  setTimeout(() => toast.remove(), bad ? 6000 : 3000);
}

/* ---- likes and follows without a new page ---- */

async function pressToggle(button) {
  const wasPressed = button.getAttribute("aria-pressed") === "true";
  updateToggle(button, { pressed: !wasPressed, count: null, next_action: null });
  button.classList.toggle("pop", !wasPressed);
  try {
    const response = await fetch(button.formAction, { method: "POST", headers: { Accept: "application/json", "X-CSRF-Token": csrfToken() } });
    const result = await response.json();
    if (!response.ok) throw new Error(result.detail);
    updateToggle(button, result);
  } catch (error) {
    updateToggle(button, { pressed: wasPressed, count: null, next_action: null });
    showToast(error instanceof TypeError || !error.message ? body.dataset.error : error.message, true);
  }
}

function updateToggle(button, state) {
  button.setAttribute("aria-pressed", String(state.pressed));
  if (state.next_action) button.formAction = state.next_action;
  const counter = button.querySelector("[data-count]");
  if (counter && state.count !== null) counter.textContent = new Intl.NumberFormat(document.documentElement.lang).format(state.count);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-toggle]");
  if (button) {
    event.preventDefault();
    pressToggle(button);
  }
});

/* ---- dropdowns close with a click elsewhere and with Escape ---- */

document.addEventListener("click", (event) => {
  for (const dropdown of document.querySelectorAll("details[data-dropdown][open]")) if (!dropdown.contains(event.target)) dropdown.open = false;
});
document.addEventListener("keydown", (event) => {
  const dropdown = event.key === "Escape" && event.target.closest?.("details[data-dropdown][open]");
  if (dropdown) {
    dropdown.open = false;
    dropdown.querySelector("summary").focus();
  }
});

/* ---- endless scrolling; the address always names the page in view ---- */

function loadPagesOnScroll(list) {
  const link = document.querySelector("a[data-next-page]");
  if (!link || !("IntersectionObserver" in window)) return;
  const addresses = new Map([[list.firstElementChild, location.href]]);
  const pageObserver = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && addresses.has(entry.target)) history.replaceState(null, "", addresses.get(entry.target));
    }
  }, { rootMargin: "0px 0px -60% 0px" });
  pageObserver.observe(list.firstElementChild);
  let isLoading = false;
  const linkObserver = new IntersectionObserver(async (entries) => {
    if (!entries.some((entry) => entry.isIntersecting) || isLoading) return;
    isLoading = true;
    try {
      const response = await fetch(link.href, { headers: { "X-Requested-With": "next-page" } });
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const items = [...(page.querySelector("[data-pages]")?.children ?? [])];
      const request = page.querySelector("[data-pages]")?.dataset.request;
      for (const item of items) if (request) item.dataset.request = request;
      const nextLink = page.querySelector("a[data-next-page]");
      if (items.length) {
        addresses.set(items[0], link.href);
        list.append(...items);
        pageObserver.observe(items[0]);
        items.forEach(observeCard);
      }
      linkObserver.unobserve(link);
      if (nextLink) {
        link.href = nextLink.getAttribute("href");
        linkObserver.observe(link);
      } else {
        link.closest("p").remove();
      }
    } catch {
      linkObserver.unobserve(link); // the link stays, to be followed by hand
    }
    isLoading = false;
  }, { rootMargin: "900px" });
  linkObserver.observe(link);
}

/* ---- autocomplete: an ARIA combobox ---- */

function addAutocomplete(input) {
  const list = document.createElement("ul");
  const id = `options-${Math.random().toString(36).slice(2, 8)}`;
  Object.assign(list, { id, className: "options", hidden: true });
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", input.getAttribute("aria-label"));
  input.closest(".query").append(list);
  for (const [name, value] of [["role", "combobox"], ["aria-expanded", "false"], ["aria-controls", id], ["aria-autocomplete", "list"]]) input.setAttribute(name, value);
  let selectedIndex = -1;
  let request = null;
  let timer = 0;
  const close = () => {
    list.hidden = true;
    selectedIndex = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const submitOption = (option) => {
    input.value = option.dataset.value;
    close();
    input.form.requestSubmit();
  };
  const selectOption = (index) => {
    const options = [...list.children];
    selectedIndex = (index + options.length) % options.length;
    options.forEach((option, position) => option.setAttribute("aria-selected", String(position === selectedIndex)));
    input.setAttribute("aria-activedescendant", options[selectedIndex].id);
  };
  const buildOption = (completion, position) => {
    const option = document.createElement("li");
    option.id = `${id}-${position}`;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    option.dataset.value = completion.text;
    option.append(completion.text);
    if (completion.kind) option.append(Object.assign(document.createElement("span"), { className: "muted small", textContent: completion.kind }));
    return option;
  };
  const loadOptions = async () => {
    request?.abort();
    const query = input.value.trim();
    if (!query) return close();
    request = new AbortController();
    try {
      const response = await fetch(`/animals/autocomplete?${new URLSearchParams({ q: query })}`, { signal: request.signal, headers: { Accept: "application/json" } });
      const completions = response.ok ? await response.json() : [];
      list.replaceChildren(...completions.map(buildOption));
      selectedIndex = -1;
      list.hidden = !completions.length || document.activeElement !== input;
      input.setAttribute("aria-expanded", String(!list.hidden));
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(loadOptions, 120);
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // the keys belong to the Japanese input
    if (list.hidden) {
      if (event.key === "ArrowDown") loadOptions();
      return;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      selectOption(event.key === "ArrowDown" ? selectedIndex + 1 : selectedIndex < 0 ? -1 : selectedIndex - 1);
    } else if (event.key === "Enter" && selectedIndex >= 0) {
      event.preventDefault();
      submitOption(list.children[selectedIndex]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      close();
    }
  });
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
    const option = event.target.closest("li");
    if (option) submitOption(option);
  });
  input.addEventListener("blur", close);
}

/* ---- events (seen, open, dwell), sent in batches, unless the reader refuses them ---- */

const pendingEvents = [];
const refusesEvents = navigator.globalPrivacyControl || navigator.doNotTrack === "1" || !document.querySelector("#page-form");

function recordEvent(event) {
  if (refusesEvents) return;
  pendingEvents.push(event);
  if (pendingEvents.length >= 50) sendEvents();
  else if (pendingEvents.length === 1) setTimeout(sendEvents, 3000);
}

function sendEvents() {
  if (!pendingEvents.length) return;
  const form = new FormData();
  form.set("csrf", csrfToken());
  form.set("events", JSON.stringify(pendingEvents.splice(0)));
  navigator.sendBeacon("/animals/events", form);
}

const timers = new Map();
const cardObserver = "IntersectionObserver" in window && new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const card = entry.target;
    if (!entry.isIntersecting) {
      clearTimeout(timers.get(card));
    } else {
      timers.set(card, setTimeout(() => {
        cardObserver.unobserve(card);
        recordEvent({ kind: "seen", post: Number(card.dataset.post), ...listPosition(card) });
      }, 500));
    }
  }
}, { threshold: 0.5 });

function listPosition(card) {
  const request = card.dataset.request ?? card.closest("[data-request]")?.dataset.request;
  return request && card.dataset.position ? { request, position: Number(card.dataset.position) } : {};
}

function observeCard(card) {
  if (cardObserver && card.dataset.post && listPosition(card).request) cardObserver.observe(card);
}

document.addEventListener("click", (event) => {
  const card = event.target.closest?.("a[href^='/animals/posts/']") && event.target.closest("[data-post]");
  if (card) sessionStorage.setItem("opened-card", JSON.stringify({ post: Number(card.dataset.post), ...listPosition(card) }));
}, true);

function recordPostPage(page) {
  const post = Number(page.dataset.postPage);
  let openedCard = null;
  try {
    openedCard = JSON.parse(sessionStorage.getItem("opened-card"));
  } catch { /* another script's value */ }
  sessionStorage.removeItem("opened-card");
  const origin = openedCard?.post === post ? openedCard : { post };
  recordEvent({ kind: "open", ...origin });
  let visibleSince = document.visibilityState === "visible" ? performance.now() : null;
  let visibleMs = 0;
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") {
      visibleSince = performance.now();
    } else if (visibleSince !== null) {
      visibleMs += performance.now() - visibleSince;
      visibleSince = null;
      if (visibleMs > 300) recordEvent({ kind: "dwell", ...origin, ms: Math.round(visibleMs) });
      visibleMs = 0;
      sendEvents();
    }
  });
}

document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && sendEvents());

/* ---- the page of a post that is being checked shows the result by itself ---- */

function pollPostState(triesLeft) {
  setTimeout(async () => {
    const response = await fetch(location.href).catch(() => null);
    const page = response?.ok && new DOMParser().parseFromString(await response.text(), "text/html");
    if (page && !page.querySelector("[data-checking]")) {
      document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
    } else if (triesLeft) {
      pollPostState(triesLeft - 1);
    }
  }, 1000);
}

/* ---- sharing ---- */

document.querySelector("[data-share]")?.addEventListener("click", async () => {
  const link = { title: document.title, url: location.origin + location.pathname };
  try {
    if (navigator.share) await navigator.share(link);
    else {
      await navigator.clipboard.writeText(link.url);
      showToast(document.querySelector("[data-share]").dataset.done);
    }
  } catch { /* the person closed the dialog */ }
});

/* ---- search by photo: sent as soon as a photo is chosen ---- */

for (const input of document.querySelectorAll("form[data-image-search] input[type='file']")) {
  input.addEventListener("change", () => {
    if (!input.files.length) return;
    for (const other of input.form.querySelectorAll("input[type='file']")) if (other !== input) other.value = "";
    input.form.requestSubmit();
  });
}

/* ---- start ---- */

document.querySelectorAll("[data-pages]").forEach(loadPagesOnScroll);
document.querySelectorAll("[data-post]").forEach(observeCard);
document.querySelectorAll("input[data-autocomplete]").forEach(addAutocomplete);
document.querySelectorAll("[data-post-page]").forEach(recordPostPage);
if (document.querySelector("[data-checking]")) pollPostState(60);
if ("serviceWorker" in navigator && body.dataset.serviceWorker) navigator.serviceWorker.register(body.dataset.serviceWorker, { scope: "/animals" }).catch(() => {});
