// The page: choose photos, send them, watch the job. The job's id lives in the address (#job=...),
// so that a reload, a bookmark or another device finds it again.

const POLL_MS = 1000;
const PAGE = 60;
const ENDS = new Set(["succeeded", "partial", "failed", "canceled", "expired"]);
const WORDS = {
  uploading: "Waiting for photos", queued: "Waiting for a free worker", processing: "Working",
  paused: "Paused", finalizing: "Finishing", canceling: "Stopping", succeeded: "Done",
  partial: "Done, but not every photo could be used", failed: "No photo could be used",
  canceled: "Canceled", expired: "Expired",
};
// What a person should know of the weights the depth was made with; of the official ones, nothing.
const WEIGHTS = {
  starter: "Made with the starter weights, which learnt from rendered scenes. They are not the official ones.",
  random: "Made with random weights, for trying the system out: these are not depth maps.",
};
// Each control, and the states that allow it.
const VERBS = {
  pause: ["queued", "processing"], resume: ["paused"],
  cancel: ["uploading", "queued", "processing", "paused"], retry: ["partial", "failed"],
};

const $ = (id) => document.getElementById(id);
let chosen = [];   // {file, name}
let watching = 0;  // number of the present watch; an older one notices and ends
let shown = 0;     // index of the first image not yet looked at

// --- choosing ---------------------------------------------------------------

function choose(found) {
  chosen = chosen.concat(found.filter(({ name }) => !name.split("/").some((part) => part.startsWith("."))));
  const bytes = chosen.reduce((sum, { file }) => sum + file.size, 0);
  $("chosen").textContent = chosen.length
    ? `${chosen.length} ${chosen.length === 1 ? "file" : "files"}, ${(bytes / 1e6).toFixed(1)} MB.`
    : "Nothing chosen yet.";
  $("send").disabled = chosen.length === 0;
  $("clear").hidden = chosen.length === 0;
}

function fromInput(event) {
  choose([...event.target.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
  event.target.value = "";
}

async function fromDrop(transfer) {
  // Entries must be taken before the first await: the list is emptied when the event ends.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  choose(found);
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  // A reader gives a folder in pieces; an empty one is the end.
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return;
    for (const child of batch) await walk(child, found);
  }
}

// --- talking to the API -----------------------------------------------------

async function ask(path, options) {
  const response = await fetch(path, options);
  const body = await response.json().catch(() => null);
  if (!response.ok) throw Object.assign(new Error(body?.detail ?? `The server answered ${response.status}.`), { status: response.status });
  return body;
}

function send(form, onProgress) {
  // Only XMLHttpRequest tells how much of a body is sent.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "v1/jobs");
    request.responseType = "json";
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onload = () => request.status === 202
      ? resolve(request.response)
      : reject(new Error(request.response?.detail ?? `The server answered ${request.status}.`));
    request.onerror = () => reject(new Error("The connection was lost while sending."));
    request.send(form);
  });
}

async function submit(event) {
  event.preventDefault();
  fail(null);
  const form = new FormData();
  form.append("options", JSON.stringify({ outputs: ["heatmap", "thumbnail"] }));
  for (const { file, name } of chosen) form.append(/\.zip$/i.test(name) ? "archive" : "images", file, name);
  $("send").disabled = true;
  try {
    const job = await send(form, (share) => { $("chosen").textContent = `Sending: ${Math.floor(share * 100)} %`; });
    chosen = [];
    choose([]);
    location.hash = `job=${job.id}`;
  } catch (error) {
    fail(error);
    choose([]);
  }
}

// --- watching ---------------------------------------------------------------

function watchAddress() {
  const id = /^#job=([a-z2-7]{26})$/.exec(location.hash)?.[1];
  watching += 1;
  $("job").hidden = !id;
  if (!id) return;
  shown = 0;
  $("grid").replaceChildren();
  $("failures").replaceChildren();
  $("failed").hidden = true;
  $("weights").hidden = true;
  $("job-title").focus();
  watch(`v1/jobs/${id}`, watching);
}

async function watch(path, mine) {
  while (mine === watching) {
    try {
      const job = await ask(path);
      if (mine !== watching) return;
      fail(null);
      show(job, path);
      await showImages(job, path, mine);
      if (ENDS.has(job.state)) return;
    } catch (error) {
      fail(error);
      if (error.status === 404) return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function show(job, path) {
  const { total, succeeded, failed } = job.counts;
  const parts = [`${WORDS[job.state]}: ${succeeded} of ${total}`];
  if (failed) parts.push(`${failed} failed`);
  if (job.images_per_second) parts.push(`${job.images_per_second.toFixed(1)} a second`);
  if (job.eta_seconds) parts.push(`about ${Math.ceil(job.eta_seconds)} s left`);
  const text = parts.join(", ") + ".";
  if ($("state").textContent !== text) $("state").textContent = text;
  $("progress").value = job.progress;
  $("download").hidden = succeeded === 0;
  $("download").href = `${path}/archive?outputs=heatmap`;
  for (const button of document.querySelectorAll("[data-verb]")) {
    button.hidden = !VERBS[button.dataset.verb].includes(job.state);
    button.onclick = () => control(path, button.dataset.verb);
  }
}

async function control(path, verb) {
  try {
    await ask(`${path}/${verb}`, { method: "POST" });
    watchAddress();
  } catch (error) {
    fail(error);
  }
}

async function showImages(job, path, mine) {
  // Images end nearly in order: show them up to the first that is still open.
  for (let open = false; !open && mine === watching;) {
    if ($("grid").childElementCount >= PAGE * (1 + Number($("more").dataset.pages ?? 0))) {
      $("more").hidden = false;
      return;
    }
    const page = await ask(`${path}/images?cursor=${shown}&limit=${PAGE}`);
    if (mine !== watching) return;
    for (const image of page.images) {
      if (image.state === "pending" || image.state === "processing") { open = true; break; }
      shown = image.index + 1;
      if (image.state === "succeeded") {
        if (!$("grid").childElementCount) nameWeights(image);
        $("grid").append(picture(image));
      }
      if (image.state === "failed") explain(image);
    }
    if (page.next_cursor === null) return;
  }
}

function picture({ name, outputs }) {
  const item = document.createElement("li");
  const figure = document.createElement("figure");
  const link = Object.assign(document.createElement("a"), { href: outputs.heatmap });
  const image = Object.assign(document.createElement("img"), {
    src: `${outputs.thumbnail ?? outputs.heatmap}?stream=1`, alt: `Depth map of ${name}`, loading: "lazy",
  });
  const caption = document.createElement("figcaption");
  caption.textContent = name;
  link.append(image);
  figure.append(link, caption);
  item.append(figure);
  return item;
}

async function nameWeights({ outputs }) {
  // The sidecar of any image tells; without it there is just nothing to say.
  const sidecar = await ask(`${outputs.depth}?stream=1`).catch(() => null);
  const text = WEIGHTS[sidecar?.weights.name];
  $("weights").textContent = text ?? "";
  $("weights").hidden = !text;
}

function explain({ name, error }) {
  const item = document.createElement("li");
  item.textContent = `${name}: ${error?.message ?? "failed"}`;
  $("failures").append(item);
  $("failed").hidden = false;
}

function fail(error) {
  $("error").hidden = !error;
  $("error").textContent = error ? error.message : "";
}

// --- wiring -----------------------------------------------------------------

$("files").addEventListener("change", fromInput);
$("folder").addEventListener("change", fromInput);
$("submit").addEventListener("submit", submit);
$("clear").addEventListener("click", () => { chosen = []; choose([]); });
$("more").addEventListener("click", () => {
  $("more").dataset.pages = 1 + Number($("more").dataset.pages ?? 0);
  $("more").hidden = true;
  watch(location.hash.replace(/^#job=/, "v1/jobs/"), ++watching);
});
for (const kind of ["dragenter", "dragover"]) {
  $("drop").addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) $("drop").addEventListener(kind, () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => { event.preventDefault(); fromDrop(event.dataTransfer).catch(fail); });
addEventListener("hashchange", watchAddress);
watchAddress();
