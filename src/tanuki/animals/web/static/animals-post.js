// The form for a post: the chosen photo is shown before it is sent, the camera is opened in the page, breeds follow the category, letters are counted.
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
