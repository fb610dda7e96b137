// @ts-check
/** What the pages of all artifacts can do: edit, delete, run, export, verify. */

import { api, complain, notify, request, root, tell } from "./app.js";

const head = /** @type {HTMLElement} */ (document.getElementById("artifact"));
const { id = "", stamp = "" } = head.dataset;

/** @param {string} name @returns {HTMLDialogElement | null} */
const dialog = (name) => /** @type {HTMLDialogElement | null} */ (document.getElementById(name));

dialog("edit-dialog")?.addEventListener("close", async (event) => {
  const box = /** @type {HTMLDialogElement} */ (event.target);
  if (box.returnValue !== "ok") return;
  const said = new FormData(/** @type {HTMLFormElement} */ (box.querySelector("form")));
  const json = {
    name: said.get("name"), description: said.get("description"), owner: said.get("owner"), visibility: said.get("visibility"),
    tags: String(said.get("tags")).split(",").map((word) => word.trim()).filter(Boolean),
  };
  try {
    // Only where nobody changed it since this page was made.
    await api(`/v1/artifacts/${id}`, { method: "PATCH", json, headers: { "If-Match": `"${stamp}-page"` } });
    location.reload();
  } catch (error) {
    complain(error);
  }
});

const exporting = dialog("export-dialog");
exporting?.addEventListener("close", () => {
  const here = new URL(location.href);
  if (here.searchParams.has("export")) {
    here.searchParams.delete("export");
    history.replaceState(history.state, "", here);
  }
  if (exporting.returnValue !== "ok") return;
  for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (exporting.querySelectorAll("input:checked"))) {
    const { href = "", file = "" } = box.dataset;
    const link = document.createElement("a");
    link.href = href;
    link.download = file;
    link.click();
    notify("Exported.", { kind: "good", link: { href, text: file } });
  }
});
if (exporting?.dataset.exportNow) exporting.showModal();

document.addEventListener("click", async (event) => {
  const button = /** @type {Element} */ (event.target).closest("button");
  if (!button) return;
  if (button.dataset.verify !== undefined) await verify(button);
  if (button.dataset.deleteOne !== undefined) await remove();
});

/** Verifies the loop as a job, and says what came of it. @param {HTMLButtonElement} button */
async function verify(button) {
  button.disabled = true;
  button.textContent = "verifying…";
  try {
    const job = await api("/v1/loops", { method: "POST", json: { model_id: button.dataset.verify }, headers: { Prefer: "respond-async" } });
    location.href = `${root}/jobs/${job.id}?follow=${encodeURIComponent(location.pathname.slice(root.length))}`;
  } catch (error) {
    button.disabled = false;
    button.textContent = "verify it";
    complain(error);
  }
}

async function remove() {
  const box = dialog("delete-dialog");
  if (!box) return;
  try {
    const answer = await request(`${root}/deletion?id=${encodeURIComponent(id)}`);
    if (!answer.ok) throw new Error("It is not there any more; reload the page.");
    box.innerHTML = await answer.text();
  } catch (error) {
    return complain(error);
  }
  box.returnValue = "";
  box.showModal();
  box.addEventListener("close", async () => {
    if (box.returnValue !== "ok") return;
    try {
      await api(`/v1/artifacts/${id}?confirm=true&force=true`, { method: "DELETE" });
      tell(`${head.querySelector("h1")?.textContent?.trim()} moved to the trash.`, { kind: "good", link: { href: `${root}/trash`, text: "Open the trash" } });
      location.href = `${root}/artifacts`;
    } catch (error) {
      complain(error);
    }
  }, { once: true });
}
