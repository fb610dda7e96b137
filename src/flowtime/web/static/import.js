// @ts-check
/** Import: a file is uploaded and checked, what it holds is shown, and only then it is uploaded to be kept. */

import { complain, Problem, root, tell, watch } from "./app.js";

/** @typedef {{component: string, measure: string, unit: string | null, values: (number | null)[]}} Column */
/** @typedef {{grid: {bins: number, binSize: number, binUnit: string, start?: string}, data: {rows: number, series: number}, rebuilt: boolean,
 *   conformance: {ok: boolean, series: {equal: boolean}[], absent: unknown[]} | null, import: {format: string, grid: string, filled: number, merged: number, moved: number},
 *   recognised: {by: string | null, id: string | null, model_id: string | null}, first: {bins: string[], series: Column[]}}} Found */

const form = /** @type {HTMLFormElement} */ (document.getElementById("import"));
const drop = /** @type {HTMLElement} */ (document.getElementById("drop"));
const picker = /** @type {HTMLInputElement} */ (document.getElementById("file"));
const result = /** @type {HTMLElement} */ (document.getElementById("result"));
const progress = /** @type {HTMLElement} */ (document.getElementById("progress"));
const bar = /** @type {HTMLProgressElement} */ (document.getElementById("progress-bar"));
const said = /** @type {HTMLElement} */ (document.getElementById("progress-text"));
const keep = /** @type {HTMLButtonElement | null} */ (document.getElementById("keep"));

/** @type {File | null} */ let data = null;
/** @type {File | null} */ let metadata = null;
/** @type {XMLHttpRequest | null} */ let under = null;
let checked = false;

/** @param {number} bytes */
const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
/** @param {number} value @param {string} one @param {string} [many] */
const count = (value, one, many = `${one}s`) => `${value.toLocaleString("en")} ${value === 1 ? one : many}`;

/**
 * An element with attributes and children.
 * @param {string} name @param {Record<string, string>} [attributes] @param {...(Node | string)} children
 */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Takes files that were dropped or picked; of two, the one that describes is the metadata. @param {FileList | null} files */
function take(files) {
  if (!files?.length) return;
  const all = [...files];
  metadata = all.length > 1 ? all.find((file) => file.name.endsWith(".datapackage.json")) ?? null : null;
  data = all.find((file) => file !== metadata) ?? null;
  const text = document.getElementById("drop-text");
  if (text && data) text.textContent = `${data.name}, ${size(data.size)}${metadata ? ", with its metadata" : ""}`;
  drop.classList.add("full");
  const name = /** @type {HTMLInputElement} */ (form.elements.namedItem("name"));
  if (data && (!name.value || name.dataset.own === undefined)) name.value = data.name.replace(/\.[^.]*$/, "");
  void check();
}

/**
 * Uploads the file. Resolves with the answer, rejects with a Problem, or with null where it was cancelled.
 * @param {boolean} dry @returns {Promise<any>}
 */
function send(dry) {
  under?.abort();
  const request = new XMLHttpRequest();
  under = request;
  const body = new FormData();
  for (const [name, value] of new FormData(form))
    if (typeof value === "string" && value.trim()) {
      if (name === "map") for (const pair of value.split(",")) body.append(name, pair.trim());
      else body.append(name, value.trim());
    }
  if (dry) body.append("dry_run", "true");
  if (data) body.append("file", data, data.name);
  if (metadata) body.append("metadata", metadata, metadata.name);
  progress.hidden = false;
  bar.value = 0;
  said.textContent = dry ? "Uploading to check it…" : "Uploading…";
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) bar.value = event.loaded / event.total;
    said.textContent = `${size(event.loaded)} of ${size(event.total)} uploaded`;
  });
  request.upload.addEventListener("load", () => {
    bar.removeAttribute("value");
    said.textContent = dry ? "Checking every row…" : "Checking and storing…";
  });
  return new Promise((resolve, reject) => {
    request.addEventListener("load", () => {
      let value;
      try {
        value = JSON.parse(request.responseText);
      } catch {
        return reject(new Error(`The server answered with ${request.status}.`));
      }
      if (request.status < 300) resolve(value);
      else reject(new Problem(value));
    });
    request.addEventListener("error", () => { watch(); reject(new Error("The upload was interrupted; nothing was stored.")); });
    request.addEventListener("abort", () => reject(null));
    request.addEventListener("loadend", () => { if (under === request) { under = null; progress.hidden = true; } });
    request.open("POST", `${root}/v1/import`);
    request.setRequestHeader("Accept", "application/json");
    request.send(body);
  });
}

async function check() {
  if (!data) return;
  checked = false;
  if (keep) keep.disabled = true;
  result.replaceChildren();
  try {
    show(await send(true));
    checked = true;
    if (keep) keep.disabled = false;
  } catch (error) {
    if (error instanceof Problem) refuse(error.body);
    else if (error) complain(error);
  }
}

/** Shows what a file holds. @param {Found} found */
function show(found) {
  const { grid, first, recognised, conformance } = found;
  const facts = make("dl", { class: "facts" });
  /** @param {string} name @param {...(Node | string)} text */
  const fact = (name, ...text) => facts.append(make("dt", {}, name), make("dd", {}, ...text));
  const origin = recognised.id ? make("a", { href: `${root}/artifacts/${recognised.id}` }, recognised.id) : "another program's data";
  fact("What it is", `${found.import.format === "gold" ? "CSV" : found.import.format}, `, origin, recognised.by ? ` (by its ${recognised.by})` : "");
  fact("Grid", `${count(grid.bins, "bin")} of ${count(grid.binSize, grid.binUnit.replace(/s$/, ""))}${grid.start ? `, from ${grid.start.replace("T", " ").replace("Z", " UTC")}` : ""}${found.import.grid === "inferred" ? " (inferred)" : ""}`);
  fact("Data", `${count(found.data.series, "series", "series")}, ${count(found.data.rows, "row")}`);
  fact("Model", found.rebuilt ? "comes back with the data" : "none");
  if (conformance) {
    const equal = conformance.series.filter((series) => series.equal).length;
    fact("Against the model", conformance.ok ? `all ${count(conformance.series.length, "derived series", "derived series")} equal to the last bit` : `${equal} of ${conformance.series.length} derived series equal${conformance.absent.length ? `, ${conformance.absent.length} absent` : ""}`);
  }
  for (const [key, text] of /** @type {const} */ ([["filled", "filled in"], ["merged", "merged"], ["moved", "moved to their bin"]]))
    if (found.import[key]) fact("Rows", `${found.import[key].toLocaleString("en")} ${text}`);
  const table = make("table", {},
    make("caption", { class: "visually-hidden" }, "First rows"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "time_bin"),
      ...first.series.map((each) => make("th", { class: "num", scope: "col" }, `${each.component}.${each.measure}`)))),
    make("tbody", {}, ...first.bins.map((bin, row) => make("tr", {}, make("th", { scope: "row", class: "nowrap" }, bin),
      ...first.series.map((each) => make("td", { class: "num" }, each.values[row] === null ? "–" : Number(each.values[row]).toLocaleString("en", { maximumSignificantDigits: 6 })))))));
  const more = found.data.series > first.series.length || grid.bins > first.bins.length;
  result.replaceChildren(
    make("section", { class: "card", "aria-labelledby": "found-title" },
      make("header", {}, make("h2", { id: "found-title" }, "This is what it holds"), make("span", { class: "badge good" }, "nothing wrong")),
      make("div", { class: "pad" }, facts)),
    make("div", { class: "table", tabindex: "0", role: "region", "aria-label": "First rows" }, table),
    more ? make("p", { class: "quiet" }, `The first ${count(first.bins.length, "bin")} of the first ${count(first.series.length, "series", "series")}.`) : "");
}

/** Shows what is wrong with a file. @param {import("./app.js").ProblemBody} problem */
function refuse(problem) {
  const rows = problem.errors.map((each) => make("tr", {},
    make("td", { class: "num" }, each.line ? String(each.line) : ""), make("td", { class: "wrap" }, each.message)));
  const text = make("div", {}, make("strong", {}, problem.message), problem.hint ? make("p", {}, problem.hint) : "",
    problem.errors.length ? "" : make("p", { class: "quiet" }, "Nothing was stored."));
  const parts = [make("div", { class: "notice bad", role: "alert" }, make("span"), text)];
  if (rows.length) {
    const kept = rows.length < problem.count ? `The first ${rows.length.toLocaleString("en")} of ${problem.count.toLocaleString("en")} rows that are wrong` : count(problem.count, "wrong row");
    const download = make("a", { class: "button small", href: table(problem), download: `${data?.name ?? "import"}.errors.csv` }, "Download as CSV");
    parts.push(make("div", { class: "bar" }, make("h2", {}, kept), make("span", { class: "end" }), download),
      make("div", { class: "table errors", tabindex: "0", role: "region", "aria-label": "Wrong rows" }, make("table", {},
        make("thead", {}, make("tr", {}, make("th", { class: "num", scope: "col" }, "Row"), make("th", { scope: "col" }, "What is wrong"))), make("tbody", {}, ...rows))));
  }
  result.replaceChildren(...parts);
  if (!problem.errors.length) /** @type {HTMLDetailsElement} */ (document.getElementById("reading")).open = true;
}

/** The problems as a CSV file, the one that `flowtime import --errors` writes. @param {import("./app.js").ProblemBody} problem */
function table(problem) {
  /** @param {unknown} text */
  const cell = (text) => (/[",\n]/.test(String(text)) ? `"${String(text).replaceAll('"', '""')}"` : String(text));
  // No cell begins as a formula does in a spreadsheet.
  /** @param {string} text */
  const plain = (text) => (/^[=+\-@\t\r]/.test(text) ? `column ${text}` : text);
  const lines = problem.errors.map((each) => [each.line ?? "", each.code, plain(each.message)]);
  if (problem.count > problem.errors.length) lines.push(["", problem.code, `${problem.count - problem.errors.length} more problems are not listed`]);
  const text = [["row", "code", "problem"], ...lines].map((line) => line.map(cell).join(",")).join("\n");
  return URL.createObjectURL(new Blob([text, "\n"], { type: "text/csv" }));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!data || !checked || !keep) return;
  keep.disabled = true;
  try {
    const made = await send(false);
    const back = made.rebuilt ? ", and its model is back with it" : "";
    tell(`Imported ${count(made.data.rows, "row")}${back}.`, { kind: "good" });
    location.href = `${root}/artifacts/${made.id}`;
  } catch (error) {
    keep.disabled = false;
    if (error instanceof Problem) refuse(error.body);
    else if (error) complain(error);
  }
});

document.getElementById("cancel")?.addEventListener("click", () => {
  under?.abort();
  result.replaceChildren(make("p", { class: "muted", role: "status" }, "Cancelled; nothing was stored."));
  if (keep) keep.disabled = !checked;
});
picker.addEventListener("change", () => take(picker.files));
/** @type {HTMLInputElement} */ (form.elements.namedItem("name")).addEventListener("input", (event) => { /** @type {HTMLElement} */ (event.target).dataset.own = ""; });
document.querySelector("[data-options]")?.addEventListener("change", () => void check());
document.getElementById("model")?.addEventListener("change", () => void check());

for (const name of ["dragenter", "dragover"])
  addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
addEventListener("drop", (event) => take(/** @type {DragEvent} */ (event).dataTransfer?.files ?? null));
