// @ts-check
/** Import: a file is uploaded and checked, what it holds is shown, and only then it is uploaded to be kept. */

import { complain, ours, Problem, root, tell, watch } from "./app.js";
import { count, counted, element, instant, short } from "./views.js";

/** @typedef {{component: string, measure: string, unit: string | null, values: (number | null)[]}} Column */
/** @typedef {{grid: {bins: number, binSize: number, binUnit: string, start?: string}, data: {rows: number, series: number}, rebuilt: boolean,
 *   conformance: {ok: boolean, series: {equal: boolean}[], absent: unknown[], within: unknown[]} | null, import: {format: string, grid: string, filled: number, merged: number, moved: number, read: {assumed_utc?: boolean}},
 *   recognised: {by: string | null, id: string | null, matches: {id: string, model_hash: string | null}[]}, first: {bins: string[], series: Column[]}}} Found */

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
  if (data && (!name.value || name.dataset.own === undefined)) name.value = data.name.replace(/\.[^.]*$/, "").replace(/_\d{4}-\d{2}-\d{2}_[0-9a-f]+$/, "-reimport");
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
    for (const [name, value] of Object.entries(ours)) request.setRequestHeader(name, value);
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
  const facts = element("dl", { class: "facts" });
  /** @param {string} name @param {...(Node | string)} text */
  const fact = (name, ...text) => facts.append(element("dt", {}, name), element("dd", {}, ...text));
  /** @param {string} id */
  const link = (id) => element("a", { href: `${root}/artifacts/${id}` }, id);
  const { id, by, matches } = recognised;
  fact("What it is", `${found.import.format === "gold" ? "gold CSV" : found.import.format}, `, id ? link(id) : matches.length ? "an export" : "another program's data", by ? ` (by its ${by})` : "");
  if (!id && matches.length)
    fact("Which run", "open: ", ...matches.slice(0, 10).flatMap((each, place) => [place ? ", " : "", link(each.id)]),
      matches.length > 10 ? ` and ${count(matches.length - 10)} more` : "", " have these series; the field Run says whose export it is");
  fact("Grid", `${counted(grid.bins, "bin")} of ${counted(grid.binSize, grid.binUnit.replace(/s$/, ""))}${grid.start ? `, from ${instant(grid.start)}` : ""}${found.import.grid === "inferred" ? " (inferred)" : ""}`);
  if (found.import.read.assumed_utc) fact("Times", "without an offset: taken as UTC");
  fact("Data", `${counted(found.data.series, "series", "series")}, ${counted(found.data.rows, "row")}`);
  const models = new Set(matches.map((each) => each.model_hash)).size;
  fact("Model", found.rebuilt ? "comes back with the data" : models > 1 ? `none came along: these are of ${count(models)} models` : "none came along");
  if (conformance) {
    const equal = conformance.series.filter((series) => series.equal).length;
    fact("Against the model", conformance.ok ? `all ${counted(conformance.series.length, "derived series", "derived series")} equal ${conformance.within.length ? "within 1e-9 of their largest value, of an earlier engine" : "to the last bit"}` : `${equal} of ${conformance.series.length} derived series equal${conformance.absent.length ? `, ${conformance.absent.length} absent` : ""}`);
  }
  for (const [key, text] of /** @type {const} */ ([["filled", "filled in"], ["merged", "merged"], ["moved", "moved to their bin"]]))
    if (found.import[key]) fact("Rows", `${count(found.import[key])} ${text}`);
  const table = element("table", {},
    element("caption", { class: "visually-hidden" }, "First rows"),
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "time_bin"),
      ...first.series.map((each) => element("th", { class: "num", scope: "col" }, `${each.component}.${each.measure}`)))),
    element("tbody", {}, ...first.bins.map((bin, row) => element("tr", {}, element("th", { scope: "row", class: "nowrap" }, bin),
      ...first.series.map((each) => element("td", { class: "num" }, each.values[row] === null ? "–" : short(Number(each.values[row]))))))));
  const more = found.data.series > first.series.length || grid.bins > first.bins.length;
  result.replaceChildren(
    element("section", { class: "card", "aria-labelledby": "found-title" },
      element("header", {}, element("h2", { id: "found-title" }, "This is what it holds"), element("span", { class: "badge good" }, "nothing wrong")),
      element("div", { class: "pad" }, facts)),
    element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "First rows" }, table),
    more ? element("p", { class: "quiet" }, `The first ${counted(first.bins.length, "bin")} of the first ${counted(first.series.length, "series", "series")}.`) : "");
}

/** Shows what is wrong with a file. @param {import("./app.js").ProblemBody} problem */
function refuse(problem) {
  const rows = problem.errors.map((each) => element("tr", {},
    element("td", { class: "num" }, each.line ? String(each.line) : ""), element("td", { class: "wrap" }, each.message)));
  const text = element("div", {}, element("strong", {}, problem.message), element("span", { class: "quiet" }, ` ${problem.code}`), problem.hint ? element("p", {}, problem.hint) : "",
    problem.errors.length ? "" : element("p", { class: "quiet" }, "Nothing was stored."));
  const parts = [element("div", { class: "notice bad", role: "alert" }, element("span"), text)];
  if (rows.length) {
    const kept = rows.length < problem.count ? `The first ${count(rows.length)} of ${count(problem.count)} rows that are wrong` : counted(problem.count, "wrong row");
    const download = element("a", { class: "button small", href: table(problem), download: `${data?.name ?? "import"}.errors.csv` }, "Download as CSV");
    parts.push(element("div", { class: "bar" }, element("h2", {}, kept), element("span", { class: "end" }), download),
      element("div", { class: "table errors", tabindex: "0", role: "region", "aria-label": "Wrong rows" }, element("table", {},
        element("thead", {}, element("tr", {}, element("th", { class: "num", scope: "col" }, "Row"), element("th", { scope: "col" }, "What is wrong"))), element("tbody", {}, ...rows))));
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
    tell(`Imported ${counted(made.data.rows, "row")}${back}.`, { kind: "good" });
    location.href = `${root}/artifacts/${made.id}`;
  } catch (error) {
    keep.disabled = false;
    if (error instanceof Problem) refuse(error.body);
    else if (error) complain(error);
  }
});

document.getElementById("cancel")?.addEventListener("click", () => {
  under?.abort();
  result.replaceChildren(element("p", { class: "muted", role: "status" }, "Cancelled; nothing was stored."));
  if (keep) keep.disabled = !checked;
});
picker.addEventListener("change", () => take(picker.files));
/** @type {HTMLInputElement} */ (form.elements.namedItem("name")).addEventListener("input", (event) => { /** @type {HTMLElement} */ (event.target).dataset.own = ""; });
document.querySelector("[data-options]")?.addEventListener("change", () => void check());
for (const field of ["model", "run"]) document.getElementById(field)?.addEventListener("change", () => void check());

for (const name of ["dragenter", "dragover"])
  addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
addEventListener("drop", (event) => take(/** @type {DragEvent} */ (event).dataTransfer?.files ?? null));
