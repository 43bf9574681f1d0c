{# The service worker: styles, scripts and pictures that everybody may see are kept on the device; pages never, only the one that says that there is no connection. #}
"use strict";

const SHELL = "tanuki-shell-{{ mark }}";
const PICTURES = "tanuki-pictures";
const OFFLINE = "/animals/offline?lang={{ lang }}";
const FILES = {{ files | tojson }};
const MOST_PICTURES = 300;

self.addEventListener("install", (event) => {
  event.addRoutes?.({ condition: { requestMethod: "POST" }, source: "network" }); // what is told while a page goes away must not wait for this worker
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll([OFFLINE, ...FILES])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter((name) => name.startsWith("tanuki-shell-") && name !== SHELL).map((name) => caches.delete(name)))).then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)));
  } else if (FILES.includes(url.pathname)) {
    event.respondWith(caches.match(request).then((kept) => kept ?? fetch(request)));
  } else if (url.pathname.startsWith("/animals/pictures/")) {
    event.respondWith(picture(request));
  }
});

async function picture(request) {
  const cache = await caches.open(PICTURES);
  const kept = await cache.match(request);
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.status === 200 && (answer.headers.get("Cache-Control") ?? "").startsWith("public")) {
    cache.put(request, answer.clone()).then(() => trim(cache));
  }
  return answer;
}

async function trim(cache) {
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, Math.max(0, keys.length - MOST_PICTURES)).map((key) => cache.delete(key)));
}
