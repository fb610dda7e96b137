// @ts-check
/** What every page has: requests to the API, notices, stars, colours, the server's absence. */

/** The path under which the application is reached, without a slash at the end. */
export const root = document.documentElement.dataset.root ?? "";

/**
 * An error as the API tells it (RFC 9457).
 * @typedef {{status: number, code: string, title: string, message: string, hint: string | null, where: string | null,
 *   count: number, errors: {code: string, message: string, line?: number, column?: number, source?: string, hint?: string}[]}} ProblemBody
 */

/** By this the API knows that a page asks, and speaks of its fields and buttons. */
export const ours = { "X-Flowtime-Face": "page" };

/** An answer of the API that is a problem. */
export class Problem extends Error {
  /** @param {ProblemBody} body */
  constructor(body) {
    super(body.hint ? `${body.message} (${body.hint})` : body.message);
    this.body = body;
  }
}

/** The server does not answer. */
export class Absent extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

/**
 * Fetches, and tells an absent server from everything else that may go wrong; rejects with Absent.
 * @param {string} url
 * @param {RequestInit} [options]
 */
export async function request(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    throw error instanceof TypeError ? new Absent() : error;
  }
}

/**
 * Asks the API, or a page's own address, and gives the JSON of the answer.
 * @param {string} path without the prefix, such as "/v1/artifacts/x"
 * @param {{method?: string, json?: unknown, body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} what the answer holds; rejects with a Problem
 */
export async function api(path, options = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", ...ours, ...options.headers };
  let body = options.body;
  if (options.json !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(options.json);
  }
  const answer = await request(root + path, { method: options.method ?? "GET", headers, body, signal: options.signal });
  const value = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Problem(value);
  return value;
}

/**
 * Shows a notice in the corner; one that tells of something wrong stays until it is closed.
 * @param {string} text
 * @param {{kind?: "good" | "warn" | "bad" | "", link?: {href: string, text: string}, action?: {text: string, run: () => void}}} [options]
 */
export function notify(text, options = {}) {
  const notice = document.createElement("div");
  notice.className = `notice ${options.kind ?? ""}`;
  const said = document.createElement("div");
  said.textContent = text + " ";
  const lead = document.createElement("span");
  notice.append(lead, said);
  if (options.link) {
    const link = document.createElement("a");
    link.href = options.link.href;
    link.textContent = options.link.text;
    said.append(link);
  }
  if (options.action) {
    const { text: name, run } = options.action;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = name;
    button.addEventListener("click", () => { notice.remove(); run(); });
    said.append(button);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "button bare small";
  close.textContent = "Close";
  close.addEventListener("click", () => notice.remove());
  notice.append(close);
  document.getElementById("notices")?.append(notice);
  if (options.kind !== "bad") setTimeout(() => notice.remove(), 12_000);
}

/**
 * Shows a notice on the page that is opened next.
 * @param {string} text
 * @param {{kind?: "good" | "warn" | "bad" | "", link?: {href: string, text: string}}} [options]
 */
export function tell(text, options = {}) {
  sessionStorage.setItem("flowtime-notice", JSON.stringify([text, options]));
}

const waiting = sessionStorage.getItem("flowtime-notice");
if (waiting) {
  sessionStorage.removeItem("flowtime-notice");
  const [text, options] = JSON.parse(waiting);
  notify(text, options);
}

/** Tells of an error of a request. @param {unknown} error */
export function complain(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (error instanceof Absent) watch();
  else notify(error instanceof Error ? error.message : String(error), { kind: "bad" });
}

// -- the server's absence ---------------------------------------------------------------------------------

let watching = false;

/** Shows that the server does not answer, and asks until it does. */
export function watch() {
  const banner = document.getElementById("offline");
  if (watching || !banner) return;
  watching = true;
  banner.hidden = false;
  const ask = async () => {
    try {
      const answer = await fetch(`${root}/healthz`, { cache: "no-store" });
      if (answer.ok) {
        watching = false;
        banner.hidden = true;
        document.dispatchEvent(new CustomEvent("flowtime:back"));
        notify("The server answers again.", { kind: "good" });
        return;
      }
    } catch { /* still away */ }
    setTimeout(ask, 2000);
  };
  setTimeout(ask, 1000);
}

document.addEventListener("htmx:sendError", watch);
document.addEventListener("htmx:responseError", (event) => {
  const { xhr } = /** @type {CustomEvent} */ (event).detail;
  try {
    complain(new Problem(JSON.parse(xhr.responseText)));
  } catch {
    notify(`The server answered with ${xhr.status}.`, { kind: "bad" });
  }
});

// -- what stands on many pages ----------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const star = target.closest("[data-star]");
  if (star instanceof HTMLButtonElement) void toggle(star);
  const opens = target.closest("[data-open]");
  if (opens instanceof HTMLElement)
    /** @type {HTMLDialogElement | null} */ (document.getElementById(opens.dataset.open ?? ""))?.showModal();
  if (target.closest("[data-close]")) target.closest("dialog")?.close();
  const choice = target.closest("[data-theme-choice]");
  if (choice instanceof HTMLElement) colour(choice.dataset.themeChoice ?? "");
});

/** Stars an artifact, or takes its star away. @param {HTMLButtonElement} button */
async function toggle(button) {
  const star = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(star));
  try {
    await api(`/v1/artifacts/${button.dataset.star}`, { method: "PATCH", json: { star } });
  } catch (error) {
    button.setAttribute("aria-pressed", String(!star));
    complain(error);
  }
}

/** Keeps to light or dark colours, or to what the system says. @param {string} theme */
function colour(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  const kept = theme ? "max-age=31536000" : "max-age=0";
  document.cookie = `flowtime-theme=${theme}; path=${root || "/"}; ${kept}; SameSite=Lax`;
  for (const button of document.querySelectorAll("[data-theme-choice]"))
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.themeChoice === theme));
}

document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  const text = form.dataset.busy;
  const button = event.submitter;
  if (!text || !(button instanceof HTMLButtonElement)) return;
  // The button's own value has to be sent, so it is not disabled before that.
  setTimeout(() => {
    form.setAttribute("aria-busy", "true");
    button.disabled = true;
    button.textContent = text;
  });
});
// A page that Back brings up again is not busy any more.
addEventListener("pageshow", (event) => { if (event.persisted && document.querySelector("form[aria-busy]")) location.reload(); });

// -- where somebody left off -------------------------------------------------------------------------------

const VISITED = `flowtime-visited:${root}`;

/** The pages of artifacts that were open last, newest first. @returns {{href: string, title: string}[]} */
export function visited() {
  try {
    return JSON.parse(localStorage.getItem(VISITED) ?? "[]");
  } catch {
    return [];
  }
}

const artifact = document.getElementById("artifact");
if (artifact)
  // When the page is left, so that its address has everything that was set on it.
  addEventListener("pagehide", () => {
    const { pathname, search } = location;
    const title = `${artifact.querySelector("h1")?.textContent?.trim()} (${artifact.dataset.kind})`;
    const others = visited().filter(({ href }) => href.split("?")[0] !== pathname);
    localStorage.setItem(VISITED, JSON.stringify([{ href: pathname + search, title }, ...others].slice(0, 5)));
  });
