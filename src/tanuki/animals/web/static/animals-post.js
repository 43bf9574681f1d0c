// The form for a post: the chosen photo is shown before it is sent, what is suggested for it is one tap to take or drop, the camera is opened in the page, breeds follow the category, letters are counted.
"use strict";

const form = document.querySelector("form[data-posting]");
const pick = document.querySelector("[data-pick]");
const photo = form.elements.photo;
const camera = form.elements.camera;

/* ---- the photo ---- */

async function preview(file) {
  const box = document.querySelector("[data-preview]");
  const canvas = box.querySelector("canvas");
  box.querySelector("[data-file]").textContent = `${file.name} · ${(file.size / 1e6).toFixed(1)} MB`;
  canvas.hidden = true;
  box.hidden = false;
  try {
    const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, 1080 / Math.max(picture.width, picture.height));
    canvas.width = Math.round(picture.width * scale);
    canvas.height = Math.round(picture.height * scale);
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.hidden = false;
    picture.close();
  } catch { /* this browser cannot show it (HEIC); the server can */ }
  suggest(file, canvas);
}

function take(file, into) {
  const files = new DataTransfer();
  files.items.add(file);
  into.files = files.files;
  (into === photo ? camera : photo).value = "";
  preview(file);
}

if (pick) {
  for (const input of [photo, camera]) {
    input.addEventListener("change", () => {
      if (!input.files.length) return;
      (input === photo ? camera : photo).value = "";
      preview(input.files[0]);
    });
  }
  for (const name of ["dragover", "dragleave", "drop"]) {
    pick.addEventListener(name, (event) => {
      event.preventDefault();
      pick.classList.toggle("over", name === "dragover");
      const file = name === "drop" && [...event.dataTransfer.files].find((each) => each.type.startsWith("image/"));
      if (file) take(file, photo);
    });
  }
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (file) take(file, photo);
  });
}

/* ---- suggestions for the photo: never for another one ---- */

const help = document.querySelector("[data-help]");
let asking = null;

async function suggest(file, canvas) {
  asking?.abort();
  drop();
  const mine = (asking = new AbortController());
  const say = help.querySelector("[data-say]");
  say.textContent = help.dataset.looking;
  const sent = new FormData();
  const smaller = canvas.hidden ? null : await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
  sent.set("photo", smaller ?? file, "photo.jpg");
  try {
    const answer = await fetch("/animals/post/look", { method: "POST", body: sent, signal: mine.signal, headers: { "X-CSRF-Token": form.elements.csrf.value } });
    if (!answer.ok) throw new Error(String(answer.status));
    const piece = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-suggested]");
    if (mine !== asking) return;
    help.querySelector("[data-offers]").replaceChildren(document.adoptNode(piece));
    say.textContent = help.dataset.done;
  } catch (error) {
    if (error.name !== "AbortError" && mine === asking) say.textContent = help.dataset.nothing;
  }
}

const split = (tags) => tags.split(/[\s,、，;；#＃]+/).filter(Boolean);
const offers = () => [...help.querySelectorAll("input[name=take]")];

function fill(offer) {
  const { what, value } = offer.dataset;
  const fields = form.elements;
  if (what === "title") {
    for (const other of offers()) if (other !== offer && other.dataset.what === "title") other.checked = false;
    fields.title.value = offer.checked ? value : fields.title.value === value ? "" : fields.title.value;
    fields.title.dispatchEvent(new Event("input", { bubbles: true }));
  } else if (what === "tag") {
    const tags = split(fields.tags.value).filter((tag) => tag !== value);
    fields.tags.value = (offer.checked ? [...tags, value] : tags).join(" ");
  } else {
    const [category, breed] = value.split("|");
    const untouched = fields.category.value === category && fields.breed.value === breed;
    if (!offer.checked && !untouched) return;
    fields.category.value = offer.checked ? category : "";
    fields.category.dispatchEvent(new Event("change", { bubbles: true }));
    fields.breed.value = offer.checked ? breed : "";
  }
}

function drop() { // with the photo goes what was taken for it
  for (const offer of offers()) {
    if (!offer.checked) continue;
    offer.checked = false;
    fill(offer);
  }
  help.querySelector("[data-offers]").replaceChildren();
  help.querySelector("[data-say]").textContent = "";
}

if (help) {
  help.addEventListener("change", (event) => event.target.name === "take" && fill(event.target));
  form.addEventListener("input", (event) => { // what was changed by hand is no suggestion any more
    for (const offer of offers()) {
      if (!offer.checked || offer === event.target) continue;
      const { what, value } = offer.dataset;
      if (what === "title" && form.elements.title.value !== value) offer.checked = false;
      if (what === "tag" && !split(form.elements.tags.value).includes(value)) offer.checked = false;
      if (what === "kind" && `${form.elements.category.value}|${form.elements.breed.value}` !== value) offer.checked = false;
    }
  });
}

/* ---- the camera in the page; where there is none, the device's own camera program ---- */

const lens = document.querySelector("[data-lens]");
if (lens && navigator.mediaDevices?.getUserMedia) {
  const video = lens.querySelector("video");
  let stream = null;
  let facing = "environment";
  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
  };
  const start = async () => {
    stop();
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, width: { ideal: 1920 }, height: { ideal: 1440 } } });
    video.srcObject = stream;
    await video.play();
  };
  let device = false;
  camera.addEventListener("click", async (event) => {
    if (device) return;
    event.preventDefault();
    try {
      await start();
      lens.showModal();
    } catch {
      stop();
      device = true; // no camera here, or it may not be used by the page
      camera.click();
    }
  });
  lens.querySelector("[data-shoot]").addEventListener("click", () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      take(new File([blob], "camera.jpg", { type: "image/jpeg" }), photo);
      lens.close();
    }, "image/jpeg", 0.92);
  });
  lens.querySelector("[data-turn]").addEventListener("click", () => {
    facing = facing === "user" ? "environment" : "user";
    start().catch(() => {});
  });
  lens.querySelector("[data-close]").addEventListener("click", () => lens.close());
  lens.addEventListener("close", stop);
}

/* ---- breeds of the chosen category only ---- */

const breeds = document.querySelector("[data-breeds]");
if (breeds) {
  const every = [...breeds.querySelectorAll("optgroup")];
  const follow = () => {
    const chosen = form.elements.category.value;
    for (const group of every) {
      if (!chosen || group.dataset.category === chosen) breeds.append(group);
      else group.remove();
    }
    if (breeds.selectedIndex < 0) breeds.value = "";
    breeds.disabled = Boolean(chosen) && !breeds.querySelector("optgroup");
  };
  form.elements.category.addEventListener("change", follow);
  follow();
}

/* ---- letters left, when few are ---- */

for (const count of form.querySelectorAll("[data-left]")) {
  const input = form.elements[count.dataset.left];
  const tell = () => {
    const left = input.maxLength - [...input.value].length;
    count.textContent = left <= input.maxLength / 4 ? left : "";
  };
  input.addEventListener("input", tell);
  tell();
}

/* ---- sent once ---- */

form.addEventListener("submit", () => {
  const button = form.querySelector("[data-send]");
  setTimeout(() => (button.disabled = true));
  if (button.dataset.sending) button.textContent = button.dataset.sending;
});
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
