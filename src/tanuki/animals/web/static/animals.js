// What makes the network's pages better where scripts run; every page works without. One file, no library.
"use strict";

const body = document.body;
const csrf = () => document.querySelector("#act input[name=csrf]")?.value ?? "";

/* ---- a word from the page ---- */

function toast(text, bad = false) {
  const line = document.createElement("p");
  line.textContent = text;
  line.classList.toggle("bad", bad);
  document.getElementById("toasts")?.append(line);
  setTimeout(() => line.remove(), bad ? 6000 : 3000);
}

/* ---- likes and follows without a new page ---- */

async function press(button) {
  const was = button.getAttribute("aria-pressed") === "true";
  show(button, !was, null, null);
  button.classList.toggle("pop", !was);
  try {
    const answer = await fetch(button.formAction, { method: "POST", headers: { Accept: "application/json", "X-CSRF-Token": csrf() } });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.detail);
    show(button, said.on, said.count, said.again);
  } catch (error) {
    show(button, was, null, null);
    toast(error instanceof TypeError || !error.message ? body.dataset.failed : error.message, true);
  }
}

function show(button, on, count, again) {
  button.setAttribute("aria-pressed", String(on));
  if (again) button.formAction = again;
  const number = button.querySelector("[data-count]");
  if (number && count !== null) number.textContent = new Intl.NumberFormat(document.documentElement.lang).format(count);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-toggle]");
  if (button) {
    event.preventDefault();
    press(button);
  }
});

/* ---- menus close when one looks elsewhere ---- */

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest?.("details[data-menu][open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

/* ---- the next page before one asks; the address always says which page is being looked at ---- */

function endless(list) {
  let link = document.querySelector("a[data-more]");
  if (!link || !("IntersectionObserver" in window)) return;
  const starts = new Map([[list.firstElementChild, location.href]]);
  const turning = new IntersectionObserver((seen) => {
    for (const each of seen) {
      if (each.isIntersecting && starts.has(each.target)) history.replaceState(null, "", starts.get(each.target));
    }
  }, { rootMargin: "0px 0px -60% 0px" });
  turning.observe(list.firstElementChild);
  let loading = false;
  const more = new IntersectionObserver(async (seen) => {
    if (!seen.some((each) => each.isIntersecting) || loading) return;
    loading = true;
    try {
      const answer = await fetch(link.href, { headers: { "X-Requested-With": "more" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const items = [...(page.querySelector("[data-pages]")?.children ?? [])];
      const request = page.querySelector("[data-pages]")?.dataset.request;
      for (const item of items) if (request) item.dataset.request = request;
      const next = page.querySelector("a[data-more]");
      if (items.length) {
        starts.set(items[0], link.href);
        list.append(...items);
        turning.observe(items[0]);
        items.forEach(watch);
      }
      more.unobserve(link);
      if (next) {
        link.href = next.getAttribute("href");
        more.observe(link);
      } else {
        link.closest("p").remove();
      }
    } catch {
      more.unobserve(link); // the link stays, to be followed by hand
    }
    loading = false;
  }, { rootMargin: "900px" });
  more.observe(link);
}

/* ---- suggestions while typing: an ARIA combobox ---- */

function suggesting(input) {
  const list = document.createElement("ul");
  const id = `options-${Math.random().toString(36).slice(2, 8)}`;
  Object.assign(list, { id, className: "options", hidden: true });
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", input.getAttribute("aria-label"));
  input.closest(".query").append(list);
  for (const [name, value] of [["role", "combobox"], ["aria-expanded", "false"], ["aria-controls", id], ["aria-autocomplete", "list"]]) input.setAttribute(name, value);
  let at = -1;
  let asking = null;
  let timer = 0;
  const close = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (option) => {
    input.value = option.dataset.value;
    close();
    input.form.requestSubmit();
  };
  const mark = (to) => {
    const options = [...list.children];
    at = (to + options.length) % options.length;
    options.forEach((option, n) => option.setAttribute("aria-selected", String(n === at)));
    input.setAttribute("aria-activedescendant", options[at].id);
  };
  const ask = async () => {
    asking?.abort();
    const words = input.value.trim();
    if (!words) return close();
    asking = new AbortController();
    try {
      const answer = await fetch(`/animals/suggest?${new URLSearchParams({ q: words })}`, { signal: asking.signal, headers: { Accept: "application/json" } });
      const said = answer.ok ? await answer.json() : [];
      list.replaceChildren(...said.map((each, n) => {
        const option = document.createElement("li");
        option.id = `${id}-${n}`;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.dataset.value = each.text;
        option.append(each.text);
        if (each.kind) option.append(Object.assign(document.createElement("span"), { className: "muted small", textContent: each.kind }));
        return option;
      }));
      at = -1;
      list.hidden = !said.length || document.activeElement !== input;
      input.setAttribute("aria-expanded", String(!list.hidden));
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 120);
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // the keys belong to the Japanese input
    if (list.hidden) {
      if (event.key === "ArrowDown") ask();
      return;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      mark(event.key === "ArrowDown" ? at + 1 : at < 0 ? -1 : at - 1);
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      choose(list.children[at]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      close();
    }
  });
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
    const option = event.target.closest("li");
    if (option) choose(option);
  });
  input.addEventListener("blur", close);
}

/* ---- what was seen, in batches, unless the reader does not want it ---- */

const noted = [];
const silent = navigator.globalPrivacyControl || navigator.doNotTrack === "1" || !document.querySelector("#act");

function note(what) {
  if (silent) return;
  noted.push(what);
  if (noted.length >= 50) send();
  else if (noted.length === 1) setTimeout(send, 3000);
}

function send() {
  if (!noted.length) return;
  const form = new FormData();
  form.set("csrf", csrf());
  form.set("told", JSON.stringify(noted.splice(0)));
  navigator.sendBeacon("/animals/seen", form);
}

const timers = new Map();
const seeing = "IntersectionObserver" in window && new IntersectionObserver((seen) => {
  for (const each of seen) {
    const card = each.target;
    if (!each.isIntersecting) {
      clearTimeout(timers.get(card));
    } else {
      timers.set(card, setTimeout(() => {
        seeing.unobserve(card);
        note({ kind: "seen", post: Number(card.dataset.post), ...place(card) });
      }, 500));
    }
  }
}, { threshold: 0.5 });

function place(card) {
  const request = card.dataset.request ?? card.closest("[data-request]")?.dataset.request;
  return request && card.dataset.position ? { request, position: Number(card.dataset.position) } : {};
}

function watch(card) {
  if (seeing && card.dataset.post && place(card).request) seeing.observe(card);
}

document.addEventListener("click", (event) => {
  const card = event.target.closest?.("a[href^='/animals/posts/']") && event.target.closest("[data-post]");
  if (card) sessionStorage.setItem("from", JSON.stringify({ post: Number(card.dataset.post), ...place(card) }));
}, true);

function looking(photo) {
  const post = Number(photo.dataset.photo);
  let from = null;
  try {
    from = JSON.parse(sessionStorage.getItem("from"));
  } catch { /* somebody else's */ }
  sessionStorage.removeItem("from");
  const what = from?.post === post ? from : { post };
  note({ kind: "open", ...what });
  let since = document.visibilityState === "visible" ? performance.now() : null;
  let ms = 0;
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") {
      since = performance.now();
    } else if (since !== null) {
      ms += performance.now() - since;
      since = null;
      if (ms > 300) note({ kind: "dwell", ...what, ms: Math.round(ms) });
      ms = 0;
      send();
    }
  });
}

document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && send());

/* ---- a post that is being checked shows itself when it is ready ---- */

function waiting(times) {
  setTimeout(async () => {
    const answer = await fetch(location.href).catch(() => null);
    const page = answer?.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
    if (page && !page.querySelector("[data-waiting]")) {
      document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
    } else if (times) {
      waiting(times - 1);
    }
  }, 1000);
}

/* ---- sharing ---- */

document.querySelector("[data-share]")?.addEventListener("click", async (event) => {
  const what = { title: document.title, url: location.origin + location.pathname };
  try {
    if (navigator.share) await navigator.share(what);
    else {
      await navigator.clipboard.writeText(what.url);
      toast(event.currentTarget?.dataset.done ?? document.querySelector("[data-share]").dataset.done);
    }
  } catch { /* thought better of it */ }
});

/* ---- searching by a picture: sent as soon as it is chosen ---- */

for (const input of document.querySelectorAll("form[data-by-picture] input[type='file']")) {
  input.addEventListener("change", () => {
    if (!input.files.length) return;
    for (const other of input.form.querySelectorAll("input[type='file']")) if (other !== input) other.value = "";
    input.form.requestSubmit();
  });
}

/* ---- begin ---- */

document.querySelectorAll("[data-pages]").forEach(endless);
document.querySelectorAll("[data-post]").forEach(watch);
document.querySelectorAll("input[data-suggest]").forEach(suggesting);
document.querySelectorAll("[data-photo]").forEach(looking);
if (document.querySelector("[data-waiting]")) waiting(60);
if ("serviceWorker" in navigator && body.dataset.worker) navigator.serviceWorker.register(body.dataset.worker, { scope: "/animals" }).catch(() => {});
