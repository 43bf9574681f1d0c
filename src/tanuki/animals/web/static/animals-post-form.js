// The form for a post: shows the photo before it is sent, lets suggestions be accepted and dropped with one tap, opens the camera in the page, offers only breeds of the category, counts the remaining characters.
"use strict";

const form = document.querySelector("form[data-post-form]");
const picker = document.querySelector("[data-photo-picker]");
const photoInput = form.elements.photo;
const cameraInput = form.elements.camera;

/* ---- the photo ---- */

async function previewPhoto(file) {
  const box = document.querySelector("[data-preview]");
  const canvas = box.querySelector("canvas");
  box.querySelector("[data-file-name]").textContent = `${file.name} · ${(file.size / 1e6).toFixed(1)} MB`;
  canvas.hidden = true;
  box.hidden = false;
  try {
    const image = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, 1080 / Math.max(image.width, image.height));
    canvas.width = Math.round(image.width * scale);
    canvas.height = Math.round(image.height * scale);
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.hidden = false;
    image.close();
  } catch { /* this browser cannot show it (HEIC); the server can */ }
  loadSuggestions(file, canvas);
}

function setPhoto(file, input) {
  const files = new DataTransfer();
  files.items.add(file);
  input.files = files.files;
  (input === photoInput ? cameraInput : photoInput).value = "";
  previewPhoto(file);
}

if (picker) {
  for (const input of [photoInput, cameraInput]) {
    input.addEventListener("change", () => {
      if (!input.files.length) return;
      (input === photoInput ? cameraInput : photoInput).value = "";
      previewPhoto(input.files[0]);
    });
  }
  for (const name of ["dragover", "dragleave", "drop"]) {
    picker.addEventListener(name, (event) => {
      event.preventDefault();
      picker.classList.toggle("drag-over", name === "dragover");
      const image = name === "drop" && [...event.dataTransfer.files].find((file) => file.type.startsWith("image/"));
      if (image) setPhoto(image, photoInput);
    });
  }
  document.addEventListener("paste", (event) => {
    const image = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
    if (image) setPhoto(image, photoInput);
  });
}

/* ---- suggestions for the photo, never for another one ---- */

const suggestionArea = document.querySelector("[data-suggestion-area]");
let currentRequest = null;

async function loadSuggestions(file, canvas) {
  currentRequest?.abort();
  dropSuggestions();
  const request = (currentRequest = new AbortController());
  const status = suggestionArea.querySelector("[data-status]");
  status.textContent = suggestionArea.dataset.loading;
  const body = new FormData();
  const smaller = canvas.hidden ? null : await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
  body.set("photo", smaller ?? file, "photo.jpg");
  try {
    const response = await fetch("/animals/post/suggestions", { method: "POST", body, signal: request.signal, headers: { "X-CSRF-Token": form.elements.csrf.value } });
    if (!response.ok) throw new Error(String(response.status));
    const panel = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-suggestion-panel]");
    if (request !== currentRequest) return;
    suggestionArea.querySelector("[data-suggestions]").replaceChildren(document.adoptNode(panel));
    status.textContent = suggestionArea.dataset.ready;
  } catch (error) {
    if (error.name !== "AbortError" && request === currentRequest) status.textContent = suggestionArea.dataset.unavailable;
  }
}

const splitTags = (tags) => tags.split(/[\s,、，;；#＃]+/).filter(Boolean);
const suggestionInputs = () => [...suggestionArea.querySelectorAll("input[name=accepted]")];

function fillSuggestion(suggestion) {
  const { field, value } = suggestion.dataset;
  const fields = form.elements;
  if (field === "title") {
    for (const other of suggestionInputs()) if (other !== suggestion && other.dataset.field === "title") other.checked = false;
    fields.title.value = suggestion.checked ? value : fields.title.value === value ? "" : fields.title.value;
    fields.title.dispatchEvent(new Event("input", { bubbles: true }));
  } else if (field === "tag") {
    const tags = splitTags(fields.tags.value).filter((tag) => tag !== value);
    fields.tags.value = (suggestion.checked ? [...tags, value] : tags).join(" ");
  } else {
    const [category, breed] = value.split("|");
    const isUnchanged = fields.category.value === category && fields.breed.value === breed;
    if (!suggestion.checked && !isUnchanged) return;
    fields.category.value = suggestion.checked ? category : "";
    fields.category.dispatchEvent(new Event("change", { bubbles: true }));
    fields.breed.value = suggestion.checked ? breed : "";
  }
}

function dropSuggestions() { // another photo: what was accepted for the first one does not apply to it
  for (const suggestion of suggestionInputs()) {
    if (!suggestion.checked) continue;
    suggestion.checked = false;
    fillSuggestion(suggestion);
  }
  suggestionArea.querySelector("[data-suggestions]").replaceChildren();
  suggestionArea.querySelector("[data-status]").textContent = "";
}

if (suggestionArea) {
  suggestionArea.addEventListener("change", (event) => event.target.name === "accepted" && fillSuggestion(event.target));
  form.addEventListener("input", (event) => { // a field that was changed by hand is no longer a suggestion
    for (const suggestion of suggestionInputs()) {
      if (!suggestion.checked || suggestion === event.target) continue;
      const { field, value } = suggestion.dataset;
      if (field === "title" && form.elements.title.value !== value) suggestion.checked = false;
      if (field === "tag" && !splitTags(form.elements.tags.value).includes(value)) suggestion.checked = false;
      if (field === "kind" && `${form.elements.category.value}|${form.elements.breed.value}` !== value) suggestion.checked = false;
    }
  });
}

/* ---- the camera in the page; where there is none, the device's own camera app ---- */

const cameraDialog = document.querySelector("[data-camera-dialog]");
if (cameraDialog && navigator.mediaDevices?.getUserMedia) {
  const video = cameraDialog.querySelector("video");
  let stream = null;
  let facingMode = "environment";
  const stopCamera = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
  };
  const startCamera = async () => {
    stopCamera();
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode, width: { ideal: 1920 }, height: { ideal: 1440 } } });
    video.srcObject = stream;
    await video.play();
  };
  let usesCameraApp = false;
  cameraInput.addEventListener("click", async (event) => {
    if (usesCameraApp) return;
    event.preventDefault();
    try {
      await startCamera();
      cameraDialog.showModal();
    } catch {
      stopCamera();
      usesCameraApp = true; // there is no camera, or the page may not use it
      cameraInput.click();
    }
  });
  cameraDialog.querySelector("[data-shutter]").addEventListener("click", () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      setPhoto(new File([blob], "camera.jpg", { type: "image/jpeg" }), photoInput);
      cameraDialog.close();
    }, "image/jpeg", 0.92);
  });
  cameraDialog.querySelector("[data-switch-camera]").addEventListener("click", () => {
    facingMode = facingMode === "user" ? "environment" : "user";
    startCamera().catch(() => {});
  });
  cameraDialog.querySelector("[data-close]").addEventListener("click", () => cameraDialog.close());
  cameraDialog.addEventListener("close", stopCamera);
}

/* ---- only breeds of the chosen category ---- */

const breedSelect = document.querySelector("[data-breeds]");
if (breedSelect) {
  const groups = [...breedSelect.querySelectorAll("optgroup")];
  const showBreeds = () => {
    const category = form.elements.category.value;
    for (const group of groups) {
      if (!category || group.dataset.category === category) breedSelect.append(group);
      else group.remove();
    }
    if (breedSelect.selectedIndex < 0) breedSelect.value = "";
    breedSelect.disabled = Boolean(category) && !breedSelect.querySelector("optgroup");
  };
  form.elements.category.addEventListener("change", showBreeds);
  showBreeds();
}

/* ---- the number of remaining characters, when few are left ---- */

for (const counter of form.querySelectorAll("[data-remaining]")) {
  const input = form.elements[counter.dataset.remaining];
  const showRemaining = () => {
    const remaining = input.maxLength - [...input.value].length;
    counter.textContent = remaining <= input.maxLength / 4 ? remaining : "";
  };
  input.addEventListener("input", showRemaining);
  showRemaining();
}

/* ---- sent once ---- */

form.addEventListener("submit", () => {
  const button = form.querySelector("[data-submit]");
  setTimeout(() => (button.disabled = true));
  if (button.dataset.sending) button.textContent = button.dataset.sending;
});
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
