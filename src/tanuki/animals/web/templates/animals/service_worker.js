{# The service worker stores styles, scripts and public photos on the device. It stores no pages but the one for a device without a connection. #}
"use strict";

const STATIC_CACHE = "tanuki-static-{{ version }}";
const PICTURE_CACHE = "tanuki-pictures";
const OFFLINE_PAGE = "/animals/offline?lang={{ lang }}";
const FILES = {{ files | tojson }};
const MAX_PICTURES = 300;

self.addEventListener("install", (event) => {
  event.addRoutes?.({ condition: { requestMethod: "POST" }, source: "network" }); // events that are sent while a page closes must not wait for this worker
  event.waitUntil(caches.open(STATIC_CACHE).then((cache) => cache.addAll([OFFLINE_PAGE, ...FILES])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter((name) => name.startsWith("tanuki-static-") && name !== STATIC_CACHE).map((name) => caches.delete(name)))).then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE_PAGE)));
  } else if (FILES.includes(url.pathname)) {
    event.respondWith(caches.match(request).then((cached) => cached ?? fetch(request)));
  } else if (url.pathname.startsWith("/animals/pictures/")) {
    event.respondWith(getPicture(request));
  }
});

async function getPicture(request) {
  const cache = await caches.open(PICTURE_CACHE);
  const cached = await cache.match(request);
  if (cached) return cached;
  const response = await fetch(request);
  if (response.status === 200 && (response.headers.get("Cache-Control") ?? "").startsWith("public")) {
    cache.put(request, response.clone()).then(() => deleteOldest(cache));
  }
  return response;
}

async function deleteOldest(cache) {
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, Math.max(0, keys.length - MAX_PICTURES)).map((key) => cache.delete(key)));
}
